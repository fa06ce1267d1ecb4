package bucket

import (
	"errors"
	"fmt"
	"io"
)

// Pieces reads to the end and hands on what it reads, in pieces of that many
// bytes. A piece is good until the next one is read.
func Pieces(r io.Reader, size int, each func([]byte) error) error {
	buf := make([]byte, size)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := each(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read object: %w", err)
		}
	}
}
