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

// The types of frames that count.
const (
	typeData = iota
	typeHeaders
	typePriority
	typeReset
	typeSettings
	typeContinuation = 9

	endStream = 0x1
)

// frames looks at what a client of HTTP/2 sends, a frame at a time, for floods
// of what costs the client nothing. Clients that cancel are not attackers: half
// of the streams may end so, and many more than any needs. It keeps no bytes.
type frames struct {
	resets int

	skip int // bytes until the next frame
	head [frameHeader]byte
	have int

	since                time.Time
	opened, reset, empty int
}

func newFrames(resets int) *frames { return &frames{resets: resets, skip: preface} }

// flooded takes in what was read and says whether it is too much.
func (f *frames) flooded(b []byte, now time.Time) bool {
	if now.Sub(f.since) > window {
		f.since, f.opened, f.reset, f.empty = now, 0, 0, 0
	}
	for len(b) > 0 {
		if f.skip > 0 {
			n := min(f.skip, len(b))
			f.skip, b = f.skip-n, b[n:]
			continue
		}
		n := copy(f.head[f.have:], b)
		f.have, b = f.have+n, b[n:]
		if f.have == frameHeader {
			f.have = 0
			f.count()
		}
	}
	return f.empty > maxIdle || f.reset > f.resets && 2*f.reset > f.opened || f.reset > most*f.resets
}

// count counts the frame that begins with head.
func (f *frames) count() {
	first := binary.BigEndian.Uint32(f.head[:4])
	f.skip = int(first >> 8)
	switch kind, flags := f.head[3], f.head[4]; {
	case kind == typeHeaders:
		f.opened++
	case kind == typeReset:
		f.reset++
	case kind == typePriority, kind == typeSettings, kind == typeContinuation,
		kind == typeData && f.skip == 0 && flags&endStream == 0:
		f.empty++
	}
}
