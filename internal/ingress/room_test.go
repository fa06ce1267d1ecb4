package ingress

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

const kib = 1 << 10

// sender is a client of HTTP/2 that sends messages of gRPC in pieces.
type sender struct {
	*http2.Framer
	sent bytes.Buffer
}

func newSender() *sender {
	s := &sender{}
	s.sent.WriteString(http2.ClientPreface)
	s.Framer = http2.NewFramer(&s.sent, nil)
	s.AllowIllegalWrites = true
	return s
}

// begin opens a stream, and sends of a message of so many bytes the first of them.
func (s *sender) begin(stream uint32, length, bytes int) {
	s.open(stream)
	s.more(stream, append(prefixOf(length), make([]byte, bytes)...))
}

func (s *sender) open(stream uint32) {
	s.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte{0x82}, EndHeaders: true}) //nolint:errcheck // to memory
}

// more sends what it may in a frame, and pads it now and then.
func (s *sender) more(stream uint32, b []byte) {
	for n := 0; len(b) > 0; n++ {
		piece := b[:min(len(b), 16*kib)]
		b = b[len(piece):]
		if n%2 == 1 {
			s.WriteDataPadded(stream, false, piece, make([]byte, 7)) //nolint:errcheck // to memory
		} else {
			s.WriteData(stream, false, piece) //nolint:errcheck // likewise
		}
	}
}

func prefixOf(length int) []byte {
	return binary.BigEndian.AppendUint32([]byte{0}, uint32(length))
}

// lengths are those that the messages begin with that a server gets.
func lengths(t *testing.T, sent []byte) (all []int) {
	t.Helper()
	r := http2.NewFramer(io.Discard, bytes.NewReader(sent[len(http2.ClientPreface):]))
	r.AllowIllegalReads = true
	streams := map[uint32][]byte{}
	skip := map[uint32]int{}
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return all
		}
		d, is := f.(*http2.DataFrame)
		if !is {
			continue
		}
		b := append(streams[d.StreamID], d.Data()...)
		for len(b) > 0 {
			if n := min(skip[d.StreamID], len(b)); n > 0 {
				skip[d.StreamID] -= n
				b = b[n:]
				continue
			}
			if len(b) < messagePrefix {
				break
			}
			length := int(binary.BigEndian.Uint32(b[1:]))
			all = append(all, length)
			b = b[messagePrefix:]
			if length == NoRoom {
				b = nil
			} else {
				skip[d.StreamID] = length
			}
		}
		streams[d.StreamID] = b
	}
}

// TestRoom sends messages for 256 KiB of an address, and 512 KiB of all.
func TestRoom(t *testing.T) {
	t.Parallel()
	const most = 200 * kib
	for _, tt := range []struct {
		name   string
		others bool
		send   func(s *sender)
		want   []int // how long the server is told that messages are
		held   int64 // in the end
	}{
		{"small ones", false, func(s *sender) {
			for i := range uint32(100) {
				s.begin(2*i+1, 16*kib, 10)
			}
		}, nil, 0},
		{"as many as there is room for", false, func(s *sender) {
			s.begin(1, 100*kib, 1)
			s.begin(3, 156*kib, 20*kib)
		}, []int{100 * kib, 156 * kib}, 256 * kib},
		{"one more", false, func(s *sender) {
			s.begin(1, 100*kib, 1)
			s.begin(3, 156*kib, 0)
			s.begin(5, 17*kib, 5)
			s.begin(7, 15*kib, 5)
		}, []int{100 * kib, 156 * kib, NoRoom, 15 * kib}, 256 * kib},
		{"of one that stands for others", true, func(s *sender) {
			for i := range uint32(6) {
				s.begin(2*i+1, 100*kib, 1)
			}
		}, []int{100 * kib, 100 * kib, 100 * kib, 100 * kib, 100 * kib, NoRoom}, 500 * kib},
		{"it came as a whole", false, func(s *sender) {
			s.begin(1, 150*kib, 150*kib)
			s.begin(3, 150*kib, 1)
		}, []int{150 * kib, 150 * kib}, 150 * kib},
		{"two in one piece", false, func(s *sender) {
			s.open(1)
			s.more(1, append(append(prefixOf(20*kib), make([]byte, 20*kib)...), prefixOf(150*kib)...))
		}, []int{20 * kib, 150 * kib}, 150 * kib},
		{"its client ends it", false, func(s *sender) {
			s.begin(1, 150*kib, 20*kib)
			s.WriteRSTStream(1, http2.ErrCodeCancel) //nolint:errcheck // to memory
			s.begin(3, 150*kib, 20*kib)
			s.WriteData(3, true, nil) //nolint:errcheck // likewise
			s.begin(5, 150*kib, 20*kib)
		}, []int{150 * kib, 150 * kib, 150 * kib}, 150 * kib},
		{"longer than the server takes", false, func(s *sender) {
			s.begin(1, most+1, 1)
		}, []int{most + 1}, 0},
		{"what comes of a stream that ended", false, func(s *sender) {
			s.WriteData(9, false, prefixOf(150*kib)) //nolint:errcheck // to memory
		}, []int{150 * kib}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSender()
			tt.send(s)
			for _, size := range []int{frameHeader + messagePrefix, 4096, s.sent.Len()} {
				room := NewRoom(256*kib, 512*kib, most)
				a := newArriving(room)
				a.of(netip.MustParseAddr("203.0.113.9"), tt.others)
				f, sent := newFrames(200, a), bytes.Clone(s.sent.Bytes())
				cut := false
				for b := sent; len(b) > 0 && !cut; {
					n := min(size, len(b))
					cut = f.flooded(b[:n], time.Unix(1_800_000_000, 0))
					b = b[n:]
				}
				if cut && size < s.sent.Len() {
					continue // in the middle of a length, by bad luck
				} else if cut {
					t.Fatal("the connection is cut")
				}
				got := lengths(t, sent)
				if tt.want == nil {
					tt.want = got
				}
				if len(got) != len(tt.want) {
					t.Fatalf("%d at a time: the server is told of %v, want %v", size, got, tt.want)
				}
				for i := range got {
					if got[i] != tt.want[i] {
						t.Errorf("%d at a time: the server is told of %v, want %v", size, got, tt.want)
					}
				}
				if room.total != tt.held {
					t.Errorf("%d at a time: %d bytes are held, want %d", size, room.total, tt.held)
				}
				if a.close(); room.total != 0 || len(room.held) != 0 {
					t.Errorf("%d at a time: %d bytes are held by a connection that is closed, %v", size, room.total, room.held)
				}
			}
		})
	}
}

// TestRoomIsGivenBack has the server end a stream, whose client goes on to send.
func TestRoomIsGivenBack(t *testing.T) {
	t.Parallel()
	for _, end := range []func(w *http2.Framer) error{
		func(w *http2.Framer) error { return w.WriteRSTStream(1, http2.ErrCodeNo) },
		func(w *http2.Framer) error {
			return w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
		},
	} {
		room := NewRoom(256*kib, 512*kib, 200*kib)
		a := newArriving(room)
		f, x := newFrames(200, a), answers{arriving: a}
		s := newSender()
		s.begin(1, 150*kib, 20*kib)
		f.flooded(s.sent.Bytes(), time.Now())
		if room.total != 150*kib {
			t.Fatalf("%d bytes are held, want 150 KiB", room.total)
		}
		var sent bytes.Buffer
		w := http2.NewFramer(&sent, nil)
		if err := w.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteData(1, false, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := end(w); err != nil {
			t.Fatal(err)
		}
		for _, b := range sent.Bytes() {
			x.sent([]byte{b})
		}
		s.sent.Reset()
		s.more(1, prefixOf(150*kib))
		f.flooded(s.sent.Bytes(), time.Now())
		if room.total != 0 {
			t.Errorf("%d bytes are held by a stream that has ended", room.total)
		}
	}
}

// TestLengthInPieces has no room for a message whose length came in two.
func TestLengthInPieces(t *testing.T) {
	t.Parallel()
	a := newArriving(NewRoom(0, 0, 1<<20))
	a.opened(1)
	length := prefixOf(100 * kib)
	if !a.data(1, length[:3]) || a.data(1, length[3:]) {
		t.Error("a connection goes on whose message is not refused")
	}
}

// TestStreamsWithoutEnd opens more than any server takes.
func TestStreamsWithoutEnd(t *testing.T) {
	t.Parallel()
	s := newSender()
	for i := range uint32(maxOpen + 1) {
		s.open(2*i + 1)
	}
	a := newArriving(NewRoom(1<<30, 1<<30, 1<<24))
	if !newFrames(200, a).flooded(s.sent.Bytes(), time.Now()) {
		t.Error("the connection goes on")
	}
	s.sent.Reset()
	s.sent.WriteString(http2.ClientPreface)
	for i := range uint32(maxOpen + 1) {
		s.open(2*i + 1)
		s.WriteRSTStream(2*i+1, http2.ErrCodeCancel) //nolint:errcheck // to memory
	}
	a = newArriving(NewRoom(1<<30, 1<<30, 1<<24))
	if newFrames(maxOpen+1, a).flooded(s.sent.Bytes(), time.Now()) {
		t.Error("a connection is cut whose streams end")
	}
}

// BenchmarkFrames takes in calls of 100 bytes.
func BenchmarkFrames(b *testing.B) {
	s := newSender()
	s.begin(1, 100, 100)
	s.WriteData(1, true, nil) //nolint:errcheck // to memory
	call := s.sent.Bytes()[len(http2.ClientPreface):]
	for _, bb := range []struct {
		name string
		a    *arriving
	}{{"floods", nil}, {"floods and room", newArriving(NewRoom(1<<30, 1<<30, 1<<24))}} {
		b.Run(bb.name, func(b *testing.B) {
			f := newFrames(200, bb.a)
			f.flooded([]byte(http2.ClientPreface), time.Now())
			for b.Loop() {
				f.flooded(call, time.Time{})
			}
		})
	}
}
