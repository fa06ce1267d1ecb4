package containers

import (
	"bufio"
	"encoding/binary"
	"io"
)

// MaxLine is the longest line of a log, in bytes. Docker cuts there, too.
const MaxLine = 16 << 10

// Frames reads the frames in which Docker sends the output of a container:
// eight bytes, the last four of which are the length, and a line.
func Frames(r io.Reader, each func(text string) error) error {
	b := bufio.NewReaderSize(r, 64<<10)
	var head [8]byte
	for {
		if _, err := io.ReadFull(b, head[:]); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		size := int64(binary.BigEndian.Uint32(head[4:]))
		line := make([]byte, min(size, MaxLine+256)) // with the time in front of it
		if _, err := io.ReadFull(b, line); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, b, size-int64(len(line))); err != nil {
			return err
		}
		if err := each(string(line)); err != nil {
			return err
		}
	}
}
