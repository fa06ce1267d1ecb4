package meter

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"time"
)

// Format is the number of the format in which records are kept and sent. Those of
// the formats before are read, too: the first had no Inside.
const Format = 2

// Class is how a call ended.
type Class uint8

// The classes. A refused call never reached its service.
const (
	OK Class = iota + 1
	ClientError
	ServerError
	Refused
)

// String is the class in what people see.
func (c Class) String() string {
	switch c {
	case OK:
		return "ok"
	case ClientError:
		return "client_error"
	case ServerError:
		return "server_error"
	case Refused:
		return "refused"
	}
	return "unknown"
}

// Record is a call that has ended, or what a stream has moved so far.
type Record struct {
	At        time.Time // to the millisecond
	Namespace string
	Service   string
	Endpoint  string
	Account   string
	Class     Class
	// Ended says that the call is over. Bytes of one that goes on are counted
	// without it.
	Ended bool
	// Inside says that the caller is a container: what it is answered does not
	// leave the platform.
	Inside   bool
	BytesIn  uint64
	BytesOut uint64
}

// A record, in little endian: its length with head and padding, the checksum of
// what follows, then the fixed part, the strings, and zeros up to a multiple of
// four bytes, so that the length can be written at once.
const (
	headBytes  = 8
	fixedBytes = 8 + 1 + 1 + 4 + 8 + 8
	maxText    = 255
	maxRecord  = (headBytes + fixedBytes + 4*maxText + 3) &^ 3
)

// The bits of a record's flags.
const (
	flagEnded = 1 << iota
	flagInside
)

var checksums = crc32.MakeTable(crc32.Castagnoli)

// errTorn says that what comes next is no record, or one that is damaged.
var errTorn = errors.New("a record is damaged")

// clip holds a text to what a record has room for.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}

// put writes a record to b, all but its length, which it answers. b has room for
// maxRecord.
func (r *Record) put(b []byte) uint32 {
	texts := [...]string{clip(r.Namespace), clip(r.Service), clip(r.Endpoint), clip(r.Account)}
	p := b[headBytes:]
	binary.LittleEndian.PutUint64(p, uint64(r.At.UnixMilli()))
	p[8], p[9] = byte(r.Class), 0
	if r.Ended {
		p[9] |= flagEnded
	}
	if r.Inside {
		p[9] |= flagInside
	}
	binary.LittleEndian.PutUint64(p[14:], r.BytesIn)
	binary.LittleEndian.PutUint64(p[22:], r.BytesOut)
	n := fixedBytes
	for i, text := range texts {
		p[10+i] = byte(len(text))
		n += copy(p[n:], text)
	}
	length := (headBytes + n + 3) &^ 3
	clear(b[headBytes+n : length])
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[headBytes:length], checksums))
	return uint32(length)
}

// next answers the length of the record that b begins with, 0 if there is none.
func next(b []byte) (int, error) {
	if len(b) < headBytes {
		return 0, nil
	}
	length := int(binary.LittleEndian.Uint32(b))
	if length == 0 {
		return 0, nil
	}
	if length < headBytes+fixedBytes || length > maxRecord || length%4 != 0 || length > len(b) {
		return 0, errTorn
	}
	if crc32.Checksum(b[headBytes:length], checksums) != binary.LittleEndian.Uint32(b[4:]) {
		return 0, errTorn
	}
	return length, nil
}

// Read reads the record that b begins with, and answers its length.
func Read(b []byte) (Record, int, error) {
	length, err := next(b)
	if err != nil || length == 0 {
		return Record{}, 0, errTorn
	}
	p := b[headBytes:length]
	r := Record{
		At:    time.UnixMilli(int64(binary.LittleEndian.Uint64(p))).UTC(),
		Class: Class(p[8]), Ended: p[9]&flagEnded != 0, Inside: p[9]&flagInside != 0,
		BytesIn: binary.LittleEndian.Uint64(p[14:]), BytesOut: binary.LittleEndian.Uint64(p[22:]),
	}
	rest := p[fixedBytes:]
	for i, text := range []*string{&r.Namespace, &r.Service, &r.Endpoint, &r.Account} {
		n := int(p[10+i])
		if n > len(rest) {
			return Record{}, 0, errTorn
		}
		*text, rest = string(rest[:n]), rest[n:]
	}
	if r.Class < OK || r.Class > Refused {
		return Record{}, 0, errTorn
	}
	return r, length, nil
}
