package ingress

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// uncounted is how much of a connection's messages no Room is told of, in bytes.
	uncounted = 16 << 10
	// maxOpen is how many streams of a connection may be without an end: many more
	// than a server takes, but for one that is about to go and answers nothing.
	maxOpen = 4096
	// messagePrefix is a byte for compression and the length of a gRPC message.
	messagePrefix = 5
	// perFrame is what the server keeps with the bytes of a frame (grpc-go 1.85).
	perFrame = 64
)

// arriving is the messages of a connection that have not come as a whole.
type arriving struct {
	room  *Room
	evict func() // has the connection go

	mu      sync.Mutex
	from    netip.Addr
	streams map[uint32]message // whose clients may send
	bytes   int64              // of all of them
	told    int64              // of bytes, to the room
	closed  bool

	came atomic.Int64 // when something did last, in Unix nanoseconds
	out  bool         // the room's: it has to go
}

// message is how much has come of a stream's message.
type message struct {
	prefix [messagePrefix]byte
	have   int    // of prefix
	left   uint32 // of what comes after it
	frame  int64  // what the frame takes that comes
	bytes  int64  // what all its frames take
}

func newArriving(r *Room, evict func()) *arriving {
	return &arriving{room: r, evict: evict, streams: map[uint32]message{}}
}

// of says whose connection it is, before anything comes.
func (a *arriving) of(from netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.from = from
}

// lastCame is when something of a message came last.
func (a *arriving) lastCame() time.Time { return time.Unix(0, a.came.Load()) }

// open is for a stream whose client will send messages. It wants mu held, as take,
// add, end and settle do.
func (a *arriving) open(stream uint32) {
	if _, is := a.streams[stream]; !is && !a.closed { // the server takes no number twice
		a.streams[stream] = message{}
	}
}

// take counts a data frame of n bytes that begins: the server takes memory for all of
// it at once, from a pool for those over 1 KiB.
func (a *arriving) take(stream uint32, n int) {
	m, open := a.streams[stream]
	if !open || n == 0 {
		return // the server has ended it, or keeps nothing
	}
	m.frame = int64(n) + perFrame
	if n > 1<<10 {
		m.frame = 4 << 10
	}
	if n > 4<<10 {
		m.frame = 16 << 10 // the longest that there is
	}
	m.bytes += m.frame
	a.bytes += m.frame
	a.streams[stream] = m
}

// add takes in a piece of a frame.
func (a *arriving) add(stream uint32, b []byte) {
	m, open := a.streams[stream]
	if !open {
		return
	}
	for len(b) > 0 {
		if m.bytes == 0 { // another has ended in this frame
			m.bytes = m.frame
			a.bytes += m.frame
		}
		if m.have < messagePrefix {
			n := copy(m.prefix[m.have:], b)
			m.have, b = m.have+n, b[n:]
			if m.have < messagePrefix {
				break
			}
			m.left = binary.BigEndian.Uint32(m.prefix[1:])
		}
		n := min(uint64(m.left), uint64(len(b)))
		m.left, b = m.left-uint32(n), b[n:]
		if m.left > 0 {
			break
		}
		a.bytes -= m.bytes
		m = message{frame: m.frame}
	}
	a.streams[stream] = m
}

// end is for a stream of which nothing is wanted any more.
func (a *arriving) end(stream uint32) {
	a.bytes -= a.streams[stream].bytes
	delete(a.streams, stream)
}

// ended is end for the server, who has ended a stream.
func (a *arriving) ended(stream uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end(stream)
	a.settle(time.Now())
}

// close is for when the connection is.
func (a *arriving) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.streams)
	a.bytes, a.closed = 0, true
	a.settle(time.Now())
}

// settle tells the room: of nothing, and of steps of more than uncounted.
func (a *arriving) settle(now time.Time) {
	n := a.bytes
	if n <= uncounted {
		n = 0
	}
	if step := max(n-a.told, a.told-n); step == 0 || step <= uncounted && n > 0 {
		return
	}
	a.told = n
	for _, x := range a.room.hold(a, a.from, n, now) {
		x.evict()
	}
}

// answers looks at what a server of HTTP/2 sends, for streams that it ends.
type answers struct {
	frame
	arriving *arriving
}

func (x *answers) sent(b []byte) {
	for len(b) > 0 {
		var ended bool
		if _, b, ended = x.step(b); ended && x.ends() {
			x.arriving.ended(x.stream)
		}
	}
}

// between says whether the last frame was sent as a whole.
func (x *answers) between() bool { return x.have == 0 && x.left == 0 }
