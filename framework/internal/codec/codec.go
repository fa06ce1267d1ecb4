// Package codec reads and writes messages in the two forms of the Micro
// contract: protobuf, and JSON with the names of the .proto.
package codec

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	_ "google.golang.org/grpc/encoding/proto" // the codec that Proto uses
)

// The content subtypes: what follows "application/grpc+".
const (
	Proto = "proto"
	JSON  = "json"
)

// Subtype answers the content subtype of a gRPC content type, or false for one
// that is not known.
func Subtype(contentType string) (string, bool) {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	rest, _, _ = strings.Cut(rest, ";")
	switch {
	case !ok:
		return "", false
	case rest == "" || rest == "+"+Proto:
		return Proto, true
	case rest == "+"+JSON:
		return JSON, true
	}
	return "", false
}

// Message is a value on its way through gRPC, and how it is written. Err is set
// when what came could not be read: gRPC itself would call that internal.
type Message struct {
	Subtype string
	Value   any
	Err     error
}

// GRPC is the one codec that servers and clients of the framework force on
// gRPC. Each Message says how it is written; anything else is protobuf, as
// health and reflection want it.
type GRPC struct{}

// Name is what goes into the content type of calls that name none.
func (GRPC) Name() string { return Proto }

// Marshal implements encoding.CodecV2.
func (GRPC) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*Message)
	if !ok {
		return encoding.GetCodecV2(Proto).Marshal(v)
	}
	if m.Subtype == Proto {
		return encoding.GetCodecV2(Proto).Marshal(m.Value)
	}
	b, err := toJSON(m.Value)
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

// Unmarshal implements encoding.CodecV2.
func (GRPC) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*Message)
	switch {
	case !ok:
		return encoding.GetCodecV2(Proto).Unmarshal(data, v)
	case m.Subtype == Proto:
		m.Err = encoding.GetCodecV2(Proto).Unmarshal(data, m.Value)
	default:
		m.Err = fromJSON(data.Materialize(), m.Value)
	}
	return nil
}

func toJSON(v any) ([]byte, error) {
	switch v := v.(type) {
	case proto.Message:
		return protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(v)
	case json.RawMessage:
		return v, nil // as it is: whether it is well formed, the other side says
	}
	return json.Marshal(v)
}

func fromJSON(b []byte, v any) error {
	if len(b) == 0 {
		b = []byte("{}")
	}
	m, ok := v.(proto.Message)
	if !ok {
		return json.Unmarshal(b, v)
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		return errors.New(plain(err))
	}
	return nil
}

// plain takes the library's prefix from an error, and the no-break spaces that
// it varies its texts with.
func plain(err error) string {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	return fmt.Sprintf("invalid JSON: %s", strings.TrimPrefix(text, "proto: "))
}

// Decode reads a message that came otherwise than as a call, such as the body
// of one that was published.
func Decode(subtype string, b []byte, v any) error {
	if subtype != JSON {
		m, ok := v.(proto.Message)
		if !ok {
			return fmt.Errorf("%T is no message of protobuf", v)
		}
		return proto.Unmarshal(b, m)
	}
	return fromJSON(b, v)
}

// Encode is the opposite of Decode. It answers the content type, too: protobuf
// for messages of it, JSON for everything else.
func Encode(v any) (b []byte, contentType string, err error) {
	if m, ok := v.(proto.Message); ok {
		b, err = proto.Marshal(m)
		return b, "application/protobuf", err
	}
	b, err = toJSON(v)
	return b, "application/json", err
}
