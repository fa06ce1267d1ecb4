package meter

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// ID names a log.
type ID [16]byte

// Begin is the offset of the first record of a segment. The header is before it:
// magic, format, number, log, when it was made, checksum.
const Begin = 64

const (
	magic     = "microcnt"
	extension = ".calls"
)

// segment is a file of records in memory.
type segment struct {
	path   string
	log    ID
	number uint32
	made   time.Time
	data   []byte // the whole file, mapped
	end    int    // of the records in data
	acked  int    // up to here usage has them; the shipper's own
}

// create makes an empty segment. Its blocks are taken at once: a full disk shows
// here, as an error, and not later as a signal.
func create(dir string, log ID, number uint32, size int, now time.Time) (_ *segment, err error) {
	s := &segment{path: filepath.Join(dir, fmt.Sprintf("%s-%08d%s", hex.EncodeToString(log[:]), number, extension)), log: log, number: number, made: now}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer func() {
		if err != nil {
			os.Remove(s.path) //nolint:errcheck // the first error says more
		}
	}()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(size)); err != nil {
		return nil, fmt.Errorf("take %d bytes for %s: %w", size, s.path, err)
	}
	if s.data, err = syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map %s: %w", s.path, err)
	}
	s.writeHeader()
	s.end, s.acked = Begin, Begin
	return s, nil
}

func (s *segment) writeHeader() {
	h := s.data[:Begin]
	binary.LittleEndian.PutUint32(h[8:], Format)
	binary.LittleEndian.PutUint32(h[12:], s.number)
	copy(h[16:], s.log[:])
	binary.LittleEndian.PutUint64(h[32:], uint64(s.made.UnixNano()))
	copy(h, magic)
	binary.LittleEndian.PutUint32(h[40:], crc32.Checksum(h[:40], checksums))
}

// errEmpty says that a file was made and never written to.
var errEmpty = errors.New("no header")

// open opens a segment that an earlier process has left, to ship it.
func open(path string) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < Begin {
		return nil, errEmpty
	}
	s := &segment{path: path, end: Begin, acked: Begin}
	if s.data, err = syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	if err := s.readHeader(); err != nil {
		s.unmap()
		return nil, err
	}
	return s, nil
}

func (s *segment) readHeader() error {
	h := s.data[:Begin]
	if bytes.Count(h, []byte{0}) == Begin {
		return errEmpty
	}
	if string(h[:8]) != magic || crc32.Checksum(h[:40], checksums) != binary.LittleEndian.Uint32(h[40:]) {
		return fmt.Errorf("%s is no segment", s.path)
	}
	if f := binary.LittleEndian.Uint32(h[8:]); f != Format {
		return fmt.Errorf("%s has format %d, this program writes and reads %d", s.path, f, Format)
	}
	s.number = binary.LittleEndian.Uint32(h[12:])
	copy(s.log[:], h[16:])
	s.made = time.Unix(0, int64(binary.LittleEndian.Uint64(h[32:])))
	return nil
}

// recover finds the end of the records that are whole, and answers how many
// bytes behind it are not zero: those that are lost.
func (s *segment) recover() (lost int) {
	for {
		n, err := next(s.data[s.end:])
		if n == 0 || err != nil {
			return len(bytes.TrimRight(s.data[s.end:], "\x00"))
		}
		s.end += n
	}
}

// append adds a record if there is room.
func (s *segment) append(r *Record) bool {
	if len(s.data)-s.end < maxRecord {
		return false
	}
	b := s.data[s.end:]
	length := r.put(b)
	// The length comes last: who finds it finds the rest. Records are aligned.
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&b[0])), length)
	s.end += int(length)
	return true
}

// cut answers whole records from offset up to end, at most size bytes of them.
func (s *segment) cut(offset, end, size int) ([]byte, error) {
	at := offset
	for at < end {
		n, err := next(s.data[at:end])
		if err != nil || n == 0 {
			return nil, errTorn
		}
		if at+n-offset > size {
			break
		}
		at += n
	}
	return s.data[offset:at], nil
}

func (s *segment) unmap() {
	_ = syscall.Munmap(s.data) // it was mapped
	s.data = nil
}

// remove deletes a segment that is shipped.
func (s *segment) remove() error {
	s.unmap()
	return os.Remove(s.path)
}
