package ingress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

const kib = 1 << 10

func init() { tellWithin = within }

var noon = time.Unix(1_800_000_000, 0)

// sender is a client of a Room. What it sends is taken in so many bytes at a time.
type sender struct {
	*http2.Framer
	sent    bytes.Buffer
	pieces  int
	now     time.Time
	frames  *frames
	answers *answers
	evicted bool
	flooded bool
}

func newSender(r *Room, from string, pieces int) *sender {
	s := &sender{pieces: pieces, now: noon}
	s.Framer = http2.NewFramer(&s.sent, nil)
	s.AllowIllegalWrites = true
	a := newArriving(r, func() { s.evicted = true })
	a.of(netip.MustParseAddr(from))
	s.frames, s.answers = newFrames(200, a), &answers{arriving: a}
	s.sent.WriteString(http2.ClientPreface)
	return s
}

// flush has the listener read what was sent.
func (s *sender) flush() {
	for b := s.sent.Bytes(); len(b) > 0; {
		n := min(s.pieces, len(b))
		s.flooded = s.flooded || s.frames.flooded(b[:n], s.now)
		b = b[n:]
	}
	s.sent.Reset()
}

func (s *sender) open(stream uint32) {
	s.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte{0x82}, EndHeaders: true}) //nolint:errcheck // to memory
}

// begin opens a stream and sends the first bytes of a message, of so many in all.
func (s *sender) begin(stream uint32, length, sent int) {
	s.open(stream)
	s.data(stream, 16*kib, append(prefixOf(length), make([]byte, sent)...))
}

// data sends bytes in frames that are so long.
func (s *sender) data(stream uint32, frame int, b []byte) {
	for c := range slices.Chunk(b, frame) {
		s.WriteData(stream, false, c) //nolint:errcheck // to memory
	}
}

// answer has the server send something.
func (s *sender) answer(send func(w *http2.Framer) error) error {
	var b bytes.Buffer
	err := send(http2.NewFramer(&b, nil))
	for c := range slices.Chunk(b.Bytes(), s.pieces) {
		s.answers.sent(c)
	}
	return err
}

func prefixOf(length int) []byte { return binary.BigEndian.AppendUint32([]byte{0}, uint32(length)) }

// TestArriving shows what a connection's messages count for.
func TestArriving(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		send func(s *sender)
		want int64
	}{
		{"whole ones", func(s *sender) {
			for i := range uint32(10) {
				s.begin(2*i+1, 50*kib, 50*kib)
			}
		}, 0},
		{"a length only", func(s *sender) { s.begin(1, 16<<20, 0) }, 0},
		{"less than counts", func(s *sender) { s.begin(1, 16<<20, 16*kib-messagePrefix) }, 0},
		{"what has come", func(s *sender) { s.begin(1, 16<<20, 32*kib-messagePrefix) }, 32 * kib},
		{"of several streams", func(s *sender) {
			s.begin(1, 16<<20, 16*kib-messagePrefix)
			s.begin(3, 16<<20, 16*kib-messagePrefix)
		}, 32 * kib},
		{"memory of a frame, not its length", func(s *sender) {
			s.open(1)
			s.data(1, 4*kib+1, append(prefixOf(100*kib), make([]byte, 12*kib+3-messagePrefix)...))
		}, 48 * kib},
		{"a byte in each frame", func(s *sender) {
			s.open(1)
			s.data(1, 1, append(prefixOf(16<<20), make([]byte, 995)...))
		}, 1000 * (1 + perFrame)},
		{"a byte in each, and padding", func(s *sender) {
			s.open(1)
			for range 500 {
				s.WriteDataPadded(1, false, []byte{1}, make([]byte, 255)) //nolint:errcheck // to memory
			}
		}, 500 * (257 + perFrame)},
		{"a stream opened twice", func(s *sender) {
			s.begin(1, 16<<20, 32*kib-messagePrefix)
			s.begin(1, 16<<20, 32*kib-messagePrefix)
		}, 64 * kib},
		{"padding is no message", func(s *sender) {
			s.open(1)
			for range 16 {
				s.WriteDataPadded(1, false, prefixOf(0), make([]byte, 255)) //nolint:errcheck // to memory
			}
			s.WriteDataPadded(1, false, prefixOf(10*kib), make([]byte, 100)) //nolint:errcheck // to memory
			s.data(1, 16*kib, make([]byte, 10*kib))
			s.data(1, 16*kib, append(prefixOf(16<<20), make([]byte, 16*kib)...))
		}, 16*kib + 5 + perFrame},
		{"the frame of the one before is still there", func(s *sender) {
			s.open(1)
			s.data(1, 16*kib, append(append(prefixOf(16*kib-10-messagePrefix), make([]byte, 16*kib-10-messagePrefix)...), append(prefixOf(16<<20), make([]byte, 5)...)...))
			s.data(1, 16*kib, make([]byte, 16*kib))
		}, 32 * kib},
		{"then it came as a whole", func(s *sender) {
			s.begin(1, 150*kib, 150*kib-1)
			s.data(1, 16*kib, []byte{1})
		}, 0},
		{"then its client ends the stream", func(s *sender) {
			s.begin(1, 150*kib, 100*kib)
			s.WriteData(1, true, nil) //nolint:errcheck // to memory
		}, 0},
		{"then its client gives up", func(s *sender) {
			s.begin(1, 150*kib, 100*kib)
			s.WriteRSTStream(1, http2.ErrCodeCancel) //nolint:errcheck // to memory
		}, 0},
		{"then it ends with trailers", func(s *sender) {
			s.begin(1, 150*kib, 100*kib)
			s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}, EndHeaders: true, EndStream: true}) //nolint:errcheck // to memory
		}, 0},
		{"then the server gives up", func(s *sender) {
			s.begin(1, 150*kib, 100*kib)
			s.flush()
			if err := s.answer(func(w *http2.Framer) error { return w.WriteRSTStream(1, http2.ErrCodeNo) }); err != nil {
				t.Error(err)
			}
			s.data(1, 16*kib, make([]byte, 40*kib))
		}, 0},
		{"then the server has answered", func(s *sender) {
			s.begin(1, 150*kib, 100*kib)
			s.begin(3, 150*kib, 16*kib)
			s.flush()
			if err := s.answer(func(w *http2.Framer) error {
				if err := w.WriteSettings(); err != nil {
					return err
				}
				if err := w.WriteData(3, false, []byte("hello")); err != nil {
					return err
				}
				return w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
			}); err != nil {
				t.Error(err)
			}
			s.data(1, 16*kib, make([]byte, 40*kib))
		}, 16*kib + 5 + perFrame},
		{"a stream that nobody opened", func(s *sender) { s.data(9, 16*kib, make([]byte, 100*kib)) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, pieces := range []int{1, 7, 4096, 1 << 30} {
				room := NewRoom(0, slog.New(slog.DiscardHandler))
				s := newSender(room, "203.0.113.9", pieces)
				tt.send(s)
				s.flush()
				if got := room.total; got > tt.want || got < tt.want-uncounted || (got == 0) != (tt.want == 0) {
					t.Errorf("%d at a time: %d bytes are counted, want %d, or up to 16 KiB less", pieces, got, tt.want)
				}
				if got := s.frames.arriving.bytes; tt.want > 0 && got != tt.want {
					t.Errorf("%d at a time: the connection holds %d bytes, want %d", pieces, got, tt.want)
				}
				if s.flooded || s.evicted {
					t.Errorf("%d at a time: flooded %v, evicted %v", pieces, s.flooded, s.evicted)
				}
				if s.frames.arriving.close(); room.total != 0 || len(room.held) != 0 {
					t.Errorf("%d at a time: %d bytes are counted of a connection that is closed, %v", pieces, room.total, room.held)
				}
			}
		})
	}
}

// TestRoom shows who has to go when there is no room.
func TestRoom(t *testing.T) {
	t.Parallel()
	const (
		one, neighbour, two, three = "203.0.113.1", "203.0.113.77", "198.51.100.2", "192.0.2.3"
		container, other, theirs   = "10.201.0.2", "10.201.0.3", "10.201.0.66"
	)
	for _, tt := range []struct {
		name  string
		from  []string
		sizes []int         // in KiB, that they send one after the other
		later time.Duration // after the first that the others do
		gone  []int
	}{
		{"there is room", []string{one, one, two}, []int{96, 96, 64}, 0, nil},
		{"who has more", []string{one, two}, []int{192, 96}, 0, []int{0}},
		{"who has more, and sends it", []string{two, one}, []int{96, 192}, 0, []int{1}},
		{"of one address, who began last", []string{one, one, one, two}, []int{64, 80, 64, 64}, 0, []int{2}},
		{"one that stands still goes first", []string{one, one, two}, []int{96, 96, 80}, 10 * time.Second, []int{0}},
		{"many small ones are no less than a large one", []string{one, one, one, one, two}, []int{48, 48, 48, 48, 96}, 0, []int{3}},
		{"that of another network, though one address has more", []string{one, neighbour, two, three}, []int{80, 80, 96, 32}, 0, []int{1}},
		{"of a network, who has more", []string{one, one, neighbour, two}, []int{48, 64, 80, 96}, 0, []int{1}},
		{"of a namespace's containers, though another's has more", []string{container, other, theirs, two}, []int{80, 80, 96, 32}, 0, []int{1}},
		{"who has little and stands still", []string{two, one, one}, []int{32, 128, 112}, 10 * time.Second, []int{2}},
		{"as many as it takes", []string{one, one, one, two, three}, []int{96, 32, 32, 96, 64}, 0, []int{1, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			room := NewRoom(256*kib, slog.New(slog.DiscardHandler))
			var all []*sender
			for i, from := range tt.from {
				s := newSender(room, from, 1<<30)
				if all = append(all, s); i > 0 {
					s.now = s.now.Add(tt.later)
				}
				s.begin(1, 16<<20, tt.sizes[i]*kib-messagePrefix)
				s.flush()
			}
			var gone []int
			for i, s := range all {
				if s.evicted {
					gone = append(gone, i)
				}
			}
			if !slices.Equal(gone, tt.gone) {
				t.Errorf("%v had to go, want %v", gone, tt.gone)
			}
			if room.total > 256*kib {
				t.Errorf("%d bytes are held", room.total)
			}
			for _, s := range all {
				s.frames.arriving.close()
			}
			if room.total != 0 || len(room.held) != 0 {
				t.Errorf("in the end %d bytes are held, %v", room.total, room.held)
			}
		})
	}
}

// TestStreamsWithoutEnd opens more than any server takes.
func TestStreamsWithoutEnd(t *testing.T) {
	t.Parallel()
	for _, ends := range []bool{false, true} {
		s := newSender(NewRoom(0, slog.New(slog.DiscardHandler)), "203.0.113.9", 4096)
		s.frames.resets = maxOpen + 1
		for i := range uint32(maxOpen + 1) {
			if s.open(2*i + 1); ends {
				s.WriteRSTStream(2*i+1, http2.ErrCodeCancel) //nolint:errcheck // to memory
			}
		}
		if s.flush(); s.flooded == ends {
			t.Errorf("they end: %v, flooded: %v", ends, s.flooded)
		}
	}
}

// TestEvicted shows that who serves a connection which has to go hears it at once,
// although nothing comes, and its client why.
func TestEvicted(t *testing.T) {
	t.Parallel()
	s := listen(t, Options{PerAddress: 2, Resets: 200, Room: NewRoom(256*kib, slog.New(slog.DiscardHandler))})
	small := s.serve("127.0.1.2")
	small.send(80 * kib)
	large := s.serve("127.0.0.1")
	large.send(144 * kib)
	other := s.serve("127.0.0.1")
	other.push(48 * kib) // not all of it is read
	other.toldWhy()
	small.send(48 * kib) // and large does nothing
	large.toldWhy()
	select {
	case err := <-small.ended:
		t.Errorf("the small one has to go: %v", err)
	default:
	}
}

// served is a connection with a client that sends one message.
type served struct {
	t      *testing.T
	client net.Conn
	server net.Conn
	came   chan int // bytes that were read
	ended  chan error
	sent   bool
}

func (s *site) serve(from string) *served {
	s.t.Helper()
	x := &served{t: s.t, client: s.dial(from, nil), came: make(chan int, 1000), ended: make(chan error, 1)}
	x.server = s.next()
	x.write([]byte{0, 0, 0, typeSettings, 0, 0, 0, 0, 0})
	go func() {
		var err error
		for b := make([]byte, 4096); err == nil; {
			var n int
			n, err = x.server.Read(b)
			x.came <- n
		}
		x.server.Close()
		x.ended <- err
	}()
	return x
}

func (x *served) write(b []byte) {
	x.t.Helper()
	if _, err := x.server.Write(b); err != nil {
		x.t.Fatal(err)
	}
}

// send sends so much of the message, and waits until it is read.
func (x *served) send(n int) {
	x.t.Helper()
	for left := x.push(n); left > 0; {
		select {
		case n := <-x.came:
			left -= n
		case <-time.After(within):
			x.t.Fatalf("%d bytes are not read", left)
		}
	}
}

// push sends so much of the message, and answers how many bytes these are.
func (x *served) push(n int) int {
	x.t.Helper()
	y := newSender(NewRoom(0, slog.New(slog.DiscardHandler)), "203.0.113.9", 4096)
	if x.sent {
		y.sent.Reset()
		y.data(1, 16*kib, make([]byte, n))
	} else {
		y.begin(1, 16<<20, n)
	}
	x.sent = true
	sent, err := x.client.Write(y.sent.Bytes())
	if err != nil {
		x.t.Fatal(err)
	}
	return sent
}

// toldWhy checks that the connection is not served any more, and its client told.
func (x *served) toldWhy() {
	x.t.Helper()
	select {
	case err := <-x.ended:
		if !errors.Is(err, os.ErrClosed) {
			x.t.Error(err)
		}
	case <-time.After(within):
		x.t.Fatal("it is still served")
	}
	r := http2.NewFramer(nil, x.client)
	var last http2.Frame
	for {
		f, err := r.ReadFrame()
		if err == io.EOF {
			break
		}
		if err != nil {
			x.t.Fatal(err)
		}
		if goAway, is := f.(*http2.GoAwayFrame); is && (goAway.ErrCode != http2.ErrCodeEnhanceYourCalm || string(goAway.DebugData()) != evictedText) {
			x.t.Errorf("its client is told %v, %q", goAway, goAway.DebugData())
		}
		last = f
	}
	if _, is := last.(*http2.GoAwayFrame); !is {
		x.t.Errorf("its client is told %v in the end", last)
	}
	x.client.Close()
}

// TestNothingInBetween shows that a client that is in the middle of a frame is told
// nothing that it would take for the rest of it.
func TestNothingInBetween(t *testing.T) {
	t.Parallel()
	s := listen(t, Options{PerAddress: 2, Resets: 200, Room: NewRoom(64*kib, slog.New(slog.DiscardHandler))})
	x := s.serve("127.0.0.1")
	half := append([]byte{0, 0, 100, typeData, 0, 0, 0, 0, 1}, make([]byte, 50)...)
	x.write(half)
	x.push(100 * kib)
	<-x.ended
	got, err := io.ReadAll(x.client)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) || len(got) != frameHeader+len(half) {
		t.Errorf("it is told %d bytes, %v; want %d and the end", len(got), err, frameHeader+len(half))
	}
}

// TestPadding sends nothing but padding.
func TestPadding(t *testing.T) {
	t.Parallel()
	for _, pad := range []int{50, 51} {
		s := newSender(NewRoom(0, slog.New(slog.DiscardHandler)), "203.0.113.9", 4096)
		s.open(1)
		for range maxIdle + 1 {
			s.WriteDataPadded(1, false, make([]byte, 50), make([]byte, pad)) //nolint:errcheck // to memory
		}
		if s.flush(); s.flooded != (pad > 50) {
			t.Errorf("%d of 50: flooded %v", pad, s.flooded)
		}
	}
}

// BenchmarkFrames takes in calls of 100 bytes, and their answers.
func BenchmarkFrames(b *testing.B) {
	s := newSender(NewRoom(1<<30, slog.New(slog.DiscardHandler)), "203.0.113.9", 1<<30)
	s.flush()
	s.begin(1, 100, 100)
	s.WriteData(1, true, nil) //nolint:errcheck // to memory
	call := bytes.Clone(s.sent.Bytes())
	s.sent.Reset()
	s.WriteData(1, false, make([]byte, 105))                                                                             //nolint:errcheck // to memory
	s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true}) //nolint:errcheck // to memory
	answer := bytes.Clone(s.sent.Bytes())
	for b.Loop() {
		s.frames.flooded(call, time.Time{})
		s.answers.sent(answer)
	}
}
