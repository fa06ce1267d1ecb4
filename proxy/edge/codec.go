package edge

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of messages that are no frames
	"google.golang.org/grpc/mem"
)

// frame is a message that nobody looks into.
type frame struct{ data mem.BufferSlice }

// codec passes frames on. Its name is the content subtype of the call.
type codec struct{ name string }

func (c codec) Name() string { return c.name }

// Marshal hands the frame's bytes over: gRPC frees them when they are sent.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return c.messages().Marshal(v)
	}
	out := f.data
	f.data = nil
	return out, nil
}

// maxOwn is how long a message to the server itself may be, such as one of health,
// in bytes. It is kept until its client has ended its side of the call, which nothing
// makes it do.
const maxOwn = 1 << 10

// piece is how long the pieces of a message have to be on average to be kept as they
// have come, in bytes. Shorter ones take up to four times their length of gRPC's
// pool, whose buffers have 4 and 16 KiB, or far more than a few bytes by themselves.
const piece = 8 << 10

// Unmarshal keeps a reference to the bytes, which gRPC frees otherwise, or a copy of
// them where they take much more than their length.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		if data.Len() > maxOwn {
			return fmt.Errorf("message of %d bytes, at most %d are allowed", data.Len(), maxOwn)
		}
		return c.messages().Unmarshal(data, v)
	}
	if len(data) > 4 && data.Len() < len(data)*piece {
		f.data = mem.BufferSlice{mem.SliceBuffer(data.Materialize())}
		return nil
	}
	data.Ref()
	f.data = data
	return nil
}

// messages is the codec of what the server answers by itself, such as health.
func (codec) messages() encoding.CodecV2 { return encoding.GetCodecV2("proto") }

// subtype forces frames onto a call, under the client's own content subtype.
func subtype(name string) grpc.CallOption {
	if name == "" {
		name = "proto"
	}
	return grpc.ForceCodecV2(codec{name})
}

// bytesFrame makes a frame of bytes that the caller gives away.
func bytesFrame(b []byte) *frame {
	return &frame{mem.BufferSlice{mem.SliceBuffer(b)}}
}

// take answers a copy of the frame's bytes and frees them.
func (f *frame) take() []byte {
	b := f.data.Materialize()
	f.data.Free()
	f.data = nil
	return b
}
