package edge

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
)

// LeastRate is what a client must read in a second of what lies there for it, in
// bytes.
const LeastRate = 64 << 10

// incoming is a client's side of a call. It counts what lies in memory of it: the
// last message that came, and the answers that the client has not taken. To gRPC
// a message is sent when it is queued; that it has been written shows only by its
// memory being freed. Until then the call keeps its place, so that a client whose
// window is shut cannot have more queued than it may have calls open.
type incoming struct {
	grpc.ServerStream
	call   *Call
	client *client

	mu       sync.Mutex
	messages int   // answers that are queued
	bytes    int64 // of them
	large    map[*mark]bool
	returned bool // only the queue keeps it open
	ended    bool
	cut      *time.Timer
}

func newIncoming(in grpc.ServerStream, c *Call) *incoming {
	return &incoming{ServerStream: in, call: c, client: clientIn(in.Context())}
}

// RecvMsg implements grpc.ServerStream, for frames.
func (s *incoming) RecvMsg(x any) error {
	if err := s.ServerStream.RecvMsg(x); err != nil {
		return err // and the client has been told
	}
	f := x.(*frame)
	if err := s.call.hold(f.data.Len()); err != nil {
		f.data.Free()
		return err
	}
	return nil
}

// SendMsg implements grpc.ServerStream, for frames.
func (s *incoming) SendMsg(x any) error {
	f := x.(*frame)
	give, err := s.call.Buffer(f.data.Len())
	if err != nil {
		f.data.Free()
		return err
	}
	m := &mark{call: s, bytes: int64(f.data.Len()), give: give}
	s.mu.Lock()
	s.messages++
	s.bytes += m.bytes
	if m.bytes > small {
		if s.large == nil {
			s.large = map[*mark]bool{}
		}
		s.large[m] = true
	}
	s.mu.Unlock()
	nothing := marked[:0]
	f.data = append(f.data, mem.NewBuffer(&nothing, m))
	return s.ServerStream.SendMsg(f)
}

// marked is large enough for gRPC to want it back.
var marked [2 << 10]byte

// mark is the end of a message. It is the pool that gRPC gives its memory back to
// when the message is written, or its stream gone.
type mark struct {
	call  *incoming
	bytes int64
	give  func()
}

// Get implements mem.BufferPool. Nobody gets anything from it.
func (*mark) Get(n int) *[]byte { b := make([]byte, n); return &b }

// Put implements mem.BufferPool.
func (m *mark) Put(*[]byte) {
	m.give()
	s := m.call
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages--
	s.bytes -= m.bytes
	delete(s.large, m)
	if s.messages == 0 && s.returned {
		s.end()
	}
}

// finish closes the call when its last answer is written, or its stream is gone: a
// client that does not take it in time is cut off. gRPC frees what it has queued
// of a stream that was canceled, but for a message that comes at that moment.
func (s *incoming) finish() {
	s.call.end(context.Canceled)
	s.call.drop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returned = true
	if s.messages == 0 || s.Context().Err() == context.Canceled || !s.client.keep(s) {
		s.end()
		return
	}
	if within := s.call.edge.opts.Unread; within > 0 {
		s.cut = time.AfterFunc(within+time.Duration(s.bytes)*time.Second/LeastRate, func() { s.client.Close() })
	}
}

// gone is for when the connection is: gRPC frees nothing then.
func (s *incoming) gone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
}

// end wants mu held.
func (s *incoming) end() {
	if s.ended {
		return
	}
	s.ended = true
	if s.cut != nil {
		s.cut.Stop()
	}
	s.client.forget(s)
	for m := range s.large {
		m.give()
	}
	s.call.leave()
}

// client is a client's connection, and the calls whose answers it has not taken.
type client struct {
	net.Conn

	mu     sync.Mutex
	calls  map[*incoming]bool
	closed bool
}

// keep remembers a call for when the connection ends, unless it has.
func (c *client) keep(s *incoming) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.calls[s] = true
	}
	return !c.closed
}

func (c *client) forget(s *incoming) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, s)
}

// Close implements net.Conn.
func (c *client) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	c.closed = true
	calls := slices.Collect(maps.Keys(c.calls))
	c.mu.Unlock()
	for _, s := range calls {
		s.gone()
	}
	return err
}

// clients are credentials that ask for none. They are how a call finds the
// connection that it came on.
type clients struct {
	credentials.TransportCredentials
}

// from is what a call finds of them.
type from struct {
	credentials.AuthInfo
	client *client
}

func newClients() clients { return clients{insecure.NewCredentials()} }

// ServerHandshake implements credentials.TransportCredentials.
func (c clients) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	it := &client{Conn: conn, calls: map[*incoming]bool{}}
	return it, from{info, it}, nil
}

// clientIn answers the connection of a call.
func clientIn(ctx context.Context) *client {
	p, _ := peer.FromContext(ctx)
	return p.AuthInfo.(from).client // every server of an edge has these credentials
}
