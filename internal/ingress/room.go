package ingress

import (
	"encoding/binary"
	"math"
	"net/netip"
	"sync"

	"github.com/micro/platform/internal/abuse"
)

const (
	// NoRoom is the length that a message is made out to have for which there is no
	// room: gRPC's server refuses it at once, in its own words for what is too long,
	// which nobody else may choose.
	NoRoom = math.MaxUint32
	// small is the length of messages that are not counted: how many calls may be
	// open bounds them.
	small = 16 << 10
	// maxOpen is how many streams of a connection may be without an end.
	maxOpen = 4096
	// messagePrefix is a byte for compression and the length of a gRPC message.
	messagePrefix = 5
)

// Room is the memory for messages of gRPC that are on their way, by the length that
// they begin with. It may serve several listeners.
type Room struct {
	each, all int64
	largest   uint32

	mu    sync.Mutex
	held  map[netip.Prefix]int64
	total int64
}

// NewRoom makes a Room of which an address may have so many bytes each, and all of
// them so many together. The server refuses by itself what is longer than largest.
func NewRoom(each, all int64, largest uint32) *Room {
	return &Room{each: each, all: all, largest: largest, held: map[netip.Prefix]int64{}}
}

// take takes n bytes for an address, or for one that stands for others.
func (r *Room) take(from netip.Addr, others bool, n int64) bool {
	address := abuse.Address(from)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.total+n > r.all || !others && r.held[address]+n > r.each {
		return false
	}
	r.held[address] += n
	r.total += n
	return true
}

func (r *Room) give(from netip.Addr, n int64) {
	address := abuse.Address(from)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total -= n
	if r.held[address] -= n; r.held[address] == 0 {
		delete(r.held, address)
	}
}

// arriving has the messages of a connection keep to the room there is.
type arriving struct {
	room *Room

	mu      sync.Mutex
	from    netip.Addr
	others  bool               // it stands for others
	streams map[uint32]message // that may send, by their ids
	closed  bool
}

// message is how much has come of a stream's message.
type message struct {
	prefix [messagePrefix]byte
	have   int    // of the prefix
	left   uint32 // of the message
	held   uint32
}

func newArriving(room *Room) *arriving {
	return &arriving{room: room, streams: map[uint32]message{}}
}

// of says whose connection it is, before anything comes.
func (a *arriving) of(from netip.Addr, others bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.from, a.others = from, others
}

// opened is for a stream whose client will send messages. It is false when there
// are more than any server takes: one that is about to go leaves new ones
// unanswered.
func (a *arriving) opened(stream uint32) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.streams[stream]; !known && !a.closed {
		a.streams[stream] = message{}
	}
	return len(a.streams) <= maxOpen
}

// ended is for a stream of which nothing is wanted any more: its client, or the
// server, has ended it.
func (a *arriving) ended(stream uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.streams[stream]; m.held > 0 {
		a.room.give(a.from, int64(m.held))
	}
	delete(a.streams, stream)
}

// close is for when the connection is.
func (a *arriving) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, m := range a.streams {
		if m.held > 0 {
			a.room.give(a.from, int64(m.held))
		}
	}
	clear(a.streams)
}

// data takes in what has come of a stream, and changes in it the length of a
// message for which there is no room. It is false when that has been read before.
func (a *arriving) data(stream uint32, b []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, open := a.streams[stream]
	if !open { // what its client sends is thrown away
		return true
	}
	for len(b) > 0 {
		if m.left > 0 {
			n := min(int(m.left), len(b))
			b = b[n:]
			if m.left -= uint32(n); m.left == 0 && m.held > 0 { // it counts by itself now
				a.room.give(a.from, int64(m.held))
				m.held = 0
			}
			continue
		}
		n := copy(m.prefix[m.have:], b)
		begun := b[:n]
		m.have, b = m.have+n, b[n:]
		if m.have < messagePrefix {
			continue
		}
		m.have, m.left = 0, binary.BigEndian.Uint32(m.prefix[1:])
		switch {
		case m.left <= small, m.left > a.room.largest:
		case a.room.take(a.from, a.others, int64(m.left)):
			m.held = m.left
		case n < messagePrefix-1:
			return false
		default:
			binary.BigEndian.PutUint32(begun[n-4:], NoRoom)
		}
	}
	a.streams[stream] = m
	return true
}
