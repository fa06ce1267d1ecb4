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
	// continuations, empty data. A client sends a handful in all. Pings the server
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
	typeNone         = 0xff

	endStream = 0x1
	padded    = 0x8
)

// frame is one of HTTP/2, a piece at a time.
type frame struct {
	head [frameHeader]byte
	have int // of the header
	left int // of what comes after it

	kind, flags byte
	stream      uint32
}

// step takes in the next piece: of a header, or of what comes after it, which it
// answers. ended says that this was the last of the frame.
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

// begins says whether the header has just been read as a whole.
func (f *frame) begins(body []byte) bool { return body == nil && f.have == 0 }

// frames looks at what a client of HTTP/2 sends, a frame at a time, for floods
// of what costs the client nothing. Clients that cancel are not attackers: half
// of the streams may end so, and many more than any needs. It keeps no bytes.
type frames struct {
	resets   int
	arriving *arriving // nil where messages need no room

	frame
	padding int // at the end of a data frame; -1 when that is not known yet

	since                time.Time
	opened, reset, empty int
}

func newFrames(resets int, a *arriving) *frames {
	return &frames{resets: resets, arriving: a, frame: frame{kind: typeNone, left: preface}}
}

// flooded takes in what was read and says whether it is too much. It changes
// messages for which there is no room.
func (f *frames) flooded(b []byte, now time.Time) bool {
	if now.Sub(f.since) > window {
		f.since, f.opened, f.reset, f.empty = now, 0, 0, 0
	}
	for len(b) > 0 {
		var body []byte
		var ended bool
		body, b, ended = f.step(b)
		if f.begins(body) {
			f.count()
		}
		if f.arriving != nil && !f.arrive(body, ended) {
			return true
		}
	}
	return f.empty > maxIdle || f.reset > f.resets && 2*f.reset > f.opened || f.reset > most*f.resets
}

// count counts the frame that begins.
func (f *frames) count() {
	switch {
	case f.kind == typeHeaders:
		f.opened++
	case f.kind == typeReset:
		f.reset++
	case f.kind == typePriority, f.kind == typeSettings, f.kind == typeContinuation,
		f.kind == typeData && f.left == 0 && f.flags&endStream == 0:
		f.empty++
	}
}

// arrive takes in a piece of a frame, and is false when the connection must end.
func (f *frames) arrive(body []byte, ended bool) bool {
	if f.begins(body) {
		f.padding = 0
		switch {
		case f.kind == typeData && f.flags&padded != 0:
			f.padding = -1
		case f.kind == typeHeaders && f.flags&endStream == 0:
			if !f.arriving.opened(f.stream) {
				return false
			}
		}
	}
	if f.kind == typeData && len(body) > 0 {
		if f.padding < 0 {
			f.padding = int(body[0])
			body = body[1:]
		}
		if more := len(body) + f.left - f.padding; more > 0 && !f.arriving.data(f.stream, body[:min(more, len(body))]) {
			return false
		}
	}
	if ended && (f.kind == typeReset || (f.kind == typeData || f.kind == typeHeaders) && f.flags&endStream != 0) {
		f.arriving.ended(f.stream)
	}
	return true
}

// answers looks at what a server of HTTP/2 sends, for streams that it ends.
type answers struct {
	frame
	arriving *arriving
}

func (x *answers) sent(b []byte) {
	for len(b) > 0 {
		var ended bool
		_, b, ended = x.step(b)
		if ended && (x.kind == typeReset || (x.kind == typeData || x.kind == typeHeaders) && x.flags&endStream != 0) {
			x.arriving.ended(x.stream)
		}
	}
}
