package store

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"

	storepb "github.com/micro/platform/proto/store"
)

// Flags in the first byte of a stored record. scripts/write.lua has the layout.
const (
	flagExpiry   = 1 << iota // 6 bytes: Unix milliseconds
	flagMetadata             // the body begins with metadata, its length before it
	flagBesides              // 6 bytes: what counts towards the limit besides
)

// headLength is of the flags and the version.
const headLength = 1 + 6

// body writes what scripts keep as it is: metadata and value.
func body(metadata map[string]string, value []byte) (flags int, b []byte, err error) {
	if len(metadata) == 0 {
		return 0, value, nil
	}
	m := &storepb.Record{Metadata: map[string]*storepb.Field{}}
	for k, v := range metadata {
		m.Metadata[k] = &storepb.Field{Type: "string", Value: v}
	}
	b, err = proto.MarshalOptions{Deterministic: true}.MarshalAppend(make([]byte, 4, 4+proto.Size(m)+len(value)), m)
	if err != nil {
		return 0, nil, fmt.Errorf("encode metadata: %w", err)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return flagMetadata, append(b, value...), nil
}

// stored is a record as it comes out of Redis.
type stored struct {
	version  int64
	metadata map[string]*storepb.Field
	value    []byte
}

func decode(s string) (stored, error) {
	var r stored
	if len(s) < headLength {
		return r, fmt.Errorf("a record of %d bytes is damaged", len(s))
	}
	flags := s[0]
	for _, c := range []byte(s[1:headLength]) {
		r.version = r.version<<8 | int64(c)
	}
	b := []byte(s[headLength:])
	for _, f := range []byte{flagExpiry, flagBesides} {
		if flags&f == 0 {
			continue
		}
		if len(b) < 6 {
			return r, fmt.Errorf("a record of %d bytes is damaged", len(s))
		}
		b = b[6:]
	}
	if flags&flagMetadata == 0 {
		r.value = b
		return r, nil
	}
	if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
		return r, fmt.Errorf("a record of %d bytes is damaged", len(s))
	}
	n := 4 + binary.BigEndian.Uint32(b)
	var m storepb.Record
	if err := proto.Unmarshal(b[4:n], &m); err != nil {
		return r, fmt.Errorf("decode metadata: %w", err)
	}
	r.metadata, r.value = m.GetMetadata(), b[n:]
	return r, nil
}

// toRecord answers a record as clients have it. left is the milliseconds it has
// to live, negative for ever.
func toRecord(key, s string, left int64) (*storepb.Record, error) {
	r, err := decode(s)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", key, err)
	}
	out := &storepb.Record{Key: key, Value: r.value, Metadata: r.metadata, Version: r.version}
	if left > 0 {
		out.Expiry, out.ExpiryMs = left/1000, left
	}
	return out, nil
}
