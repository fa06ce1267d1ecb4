package client

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strconv"
)

// Messages are the messages of a stream. Code that micro gen client writes
// answers them.
type Messages[Rsp any] struct {
	Stream Stream
}

// Recv reads the next message. It answers io.EOF when there are no more.
func (m *Messages[Rsp]) Recv() (Rsp, error) {
	var rsp Rsp
	err := m.Stream.RecvMsg(&rsp)
	return rsp, err
}

// All reads the messages until there are no more or something fails. Leaving
// the loop closes the stream.
func (m *Messages[Rsp]) All() iter.Seq2[Rsp, error] {
	return func(yield func(Rsp, error) bool) {
		defer m.Close() //nolint:errcheck // it has no error to tell
		for {
			rsp, err := m.Recv()
			if err == io.EOF || !yield(rsp, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the stream, whatever is still to come. It must be called, unless
// Recv has answered an error or All was used.
func (m *Messages[Rsp]) Close() error { return m.Stream.Close() }

// Conversation is a stream on which both sides send.
type Conversation[Req, Rsp any] struct {
	Messages[Rsp]
}

// Send sends a message. It answers io.EOF when the other side has ended the
// stream; Recv has the reason.
func (c *Conversation[Req, Rsp]) Send(req Req) error { return c.Stream.SendMsg(req) }

// CloseSend says that no more is sent.
func (c *Conversation[Req, Rsp]) CloseSend() error { return c.Stream.CloseSend() }

// Int64 is an integer that JSON has as a string, since others lose its last
// digits. It reads numbers, too.
type Int64 int64

// MarshalText implements encoding.TextMarshaler.
func (i Int64) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(i), 10), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (i *Int64) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseInt(string(bytes.Trim(text, `"`)), 10, 64)
	if err != nil && string(text) != "null" {
		return fmt.Errorf("%s is no 64-bit integer", text)
	}
	*i = Int64(n)
	return nil
}

// Uint64 is an Int64 without a sign.
type Uint64 uint64

// MarshalText implements encoding.TextMarshaler.
func (u Uint64) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(u), 10), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (u *Uint64) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseUint(string(bytes.Trim(text, `"`)), 10, 64)
	if err != nil && string(text) != "null" {
		return fmt.Errorf("%s is no 64-bit integer without a sign", text)
	}
	*u = Uint64(n)
	return nil
}
