package ingress

import (
	"encoding/binary"
	"time"
)

const (
	preface     = 24 // bytes that a client of HTTP/2 begins with
	frameHeader = 9
	// window is the time in which frames are counted.
	window = 10 * time.Second
	// most is how many times the resets that are allowed there may be whatever
	// the client does besides.
	most = 10
	// maxIdle is how many frames may ask for nothing: settings, priorities,
	// continuations, data that is empty or mostly padding. A client sends a handful in all. Pings the server
	// counts itself.
	maxIdle = 500
)

// The types of frames that count, and their flags (RFC 9113, 6).
const (
	typeData = iota
	typeHeaders
	typePriority
	typeReset
	typeSettings
	typeContinuation = 9
	typePreface      = 0xff // no frame

	endStream = 0x1
	padded    = 0x8
)

// frame is one of HTTP/2, a piece at a time.
type frame struct {
	head [frameHeader]byte
	have int // of head
	left int // of what comes after it

	kind, flags byte
	stream      uint32
}

// step takes in the next piece: of the header, or of what comes after it, which it
// answers as body. ended says that this was the last of the frame.
func (f *frame) step(b []byte) (body, rest []byte, ended bool) {
	if f.left > 0 {
		n := min(f.left, len(b))
		f.left -= n
		return b[:n], b[n:], f.left == 0
	}
	n := copy(f.head[f.have:], b)
	if f.have += n; f.have < frameHeader {
		return nil, b[n:], false
	}
	f.have = 0
	f.left = int(binary.BigEndian.Uint32(f.head[:4]) >> 8)
	f.kind, f.flags = f.head[3], f.head[4]
	f.stream = binary.BigEndian.Uint32(f.head[5:]) &^ (1 << 31)
	return nil, b[n:], f.left == 0
}

// begins says whether step has just read a header as a whole.
func (f *frame) begins(body []byte) bool { return body == nil && f.have == 0 }

// ends says whether a frame is the last that its sender sends of its stream.
func (f *frame) ends() bool {
	return f.kind == typeReset || (f.kind == typeData || f.kind == typeHeaders) && f.flags&endStream != 0
}

// frames looks at what a client of HTTP/2 sends, a frame at a time, for floods
// of what costs the client nothing. Clients that cancel are not attackers: half
// of the streams may end so, and many more than any needs. It keeps no bytes.
type frames struct {
	frame
	resets   int
	arriving *arriving
	padding  int // at the end of a data frame; -1 before it is known

	since                time.Time
	opened, reset, empty int
}

func newFrames(resets int, a *arriving) *frames {
	return &frames{frame: frame{kind: typePreface, left: preface}, resets: resets, arriving: a}
}

// flooded takes in what was read and says whether it is too much.
func (f *frames) flooded(b []byte, now time.Time) bool {
	if now.Sub(f.since) > window {
		f.since, f.opened, f.reset, f.empty = now, 0, 0, 0
	}
	f.arriving.mu.Lock()
	defer f.arriving.mu.Unlock()
	for len(b) > 0 {
		var body []byte
		var ended bool
		body, b, ended = f.step(b)
		if f.begins(body) {
			f.begin()
		}
		if f.kind == typeData {
			f.add(body)
			f.arriving.came.Store(now.UnixNano())
		}
		if ended && f.ends() {
			f.arriving.end(f.stream)
		}
	}
	f.arriving.settle(now)
	return f.empty > maxIdle || f.reset > f.resets && 2*f.reset > f.opened || f.reset > most*f.resets ||
		len(f.arriving.streams) > maxOpen
}

// begin counts the frame that begins.
func (f *frames) begin() {
	f.padding = 0
	switch f.kind {
	case typeHeaders:
		f.opened++
		if f.flags&endStream == 0 {
			f.arriving.open(f.stream)
		}
	case typeReset:
		f.reset++
	case typePriority, typeSettings, typeContinuation:
		f.empty++
	case typeData:
		if f.left == 0 && f.flags&endStream == 0 {
			f.empty++
		}
		if f.flags&padded != 0 {
			f.padding = -1
		}
		f.arriving.take(f.stream, f.left)
	}
}

// add takes in a piece of a data frame.
func (f *frames) add(body []byte) {
	if f.padding < 0 && len(body) > 0 {
		f.padding, body = int(body[0]), body[1:]
		if 2*f.padding > len(body)+f.left {
			f.empty++
		}
	}
	if n := min(len(body)+f.left-f.padding, len(body)); n > 0 {
		f.arriving.add(f.stream, body[:n])
	}
}
