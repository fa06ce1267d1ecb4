package rpc

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// JSONOut and JSONIn are the JSON of the Micro contract: names as in the
// .proto, all fields present, unknown ones ignored.
var (
	JSONOut = protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}
	JSONIn  = protojson.UnmarshalOptions{DiscardUnknown: true}
)

// "application/grpc+json" is a content type of this process. gRPC takes codecs
// only before the program starts: later nothing guards them.
func init() { encoding.RegisterCodec(jsonCodec{}) }

type jsonCodec struct{}

func (jsonCodec) Name() string { return "json" }

func (jsonCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is not a message", v)
	}
	return JSONOut.Marshal(m)
}

func (jsonCodec) Unmarshal(b []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is not a message", v)
	}
	return JSONIn.Unmarshal(b, m)
}
