package meter

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	usagepb "github.com/micro/platform/proto/usage"
)

var at = time.Date(2026, 11, 21, 12, 0, 0, 5e6, time.UTC)

func record(service string) *Record {
	return &Record{At: at, Namespace: "acme", Service: service, Endpoint: "Greeter.Hello", Account: "jane", Class: OK, Ended: true, BytesIn: 7, BytesOut: 1 << 40}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 200)
	for _, tt := range []struct {
		name     string
		in, want Record
	}{
		{"whole", *record("greeter"), *record("greeter")},
		{"empty", Record{At: at, Class: Refused}, Record{At: at, Class: Refused}},
		{"too long", Record{At: at, Class: ServerError, Service: long}, Record{At: at, Class: ServerError, Service: strings.Repeat("é", 127)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &segment{data: make([]byte, 4096)}
			if !s.append(&tt.in) {
				t.Fatal("no room")
			}
			got, n, err := Read(s.data)
			if err != nil || n != s.end {
				t.Fatal(n, err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// receiver is usage, as a Log sees it.
type receiver struct {
	mu     sync.Mutex
	got    []string         // services, in the order in which they came
	folded map[string]int64 // by log and segment
	away   error
	lose   bool // take the records, and lose the answer
}

func (r *receiver) append(_ context.Context, req *usagepb.AppendRequest) (*usagepb.AppendResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away != nil {
		return nil, r.away
	}
	key := fmt.Sprintf("%x %d", req.GetLog(), req.GetSegment())
	if r.folded == nil {
		r.folded = map[string]int64{}
	}
	if r.folded[key] == 0 {
		r.folded[key] = Begin
	}
	data := req.GetData()
	if skip := r.folded[key] - int64(req.GetOffset()); skip < 0 || skip >= int64(len(data)) {
		return &usagepb.AppendResponse{Offset: uint64(r.folded[key])}, nil
	} else {
		data = data[skip:]
	}
	for len(data) > 0 {
		x, n, err := Read(data)
		if err != nil {
			return nil, errors.New(codes.InvalidArgument, "%v", err)
		}
		r.got, data = append(r.got, x.Service), data[n:]
		r.folded[key] += int64(n)
	}
	if r.lose {
		r.lose = false
		return nil, errors.New(codes.Unavailable, "the answer is lost")
	}
	return &usagepb.AppendResponse{Offset: uint64(r.folded[key])}, nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openLog(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// crash leaves a log as a process does that is killed.
func (l *Log) crash() { l.lock.Close() }

func numbers(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func files(t *testing.T, dir string) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"+extension))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

// TestShip shows that every record comes once and in order, over segments,
// crashes, an away usage and lost answers, and that the disk is free after.
func TestShip(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir(), Segment: 4096}
	usage := &receiver{}
	l := openLog(t, o)
	n := 0
	add := func(count int) {
		for range count {
			l.Append(record(fmt.Sprint(n)))
			n++
		}
	}
	ship := func(want codes.Code) {
		t.Helper()
		if err := l.ship(t.Context(), usage.append); errors.Code(err) != want {
			t.Fatalf("ship = %v, want %v", err, want)
		}
	}
	add(10)
	ship(codes.OK)
	add(100) // several segments
	usage.lose = true
	ship(codes.Unavailable)
	l.crash()
	l = openLog(t, o)
	add(100)
	usage.away = errors.New(codes.Unavailable, "away")
	ship(codes.Unavailable)
	l.crash()
	l = openLog(t, o)
	add(5)
	usage.away = nil
	l.Close(t.Context(), usage.append)
	if diff := cmp.Diff(numbers(0, n), usage.got); diff != "" {
		t.Error(diff)
	}
	if left := files(t, o.Dir); left != 0 {
		t.Errorf("%d files are left", left)
	}
}

// TestTornTail shows that what a power cut tears ends a segment, and that what
// is before it is counted.
func TestTornTail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		tear func(b []byte, last int) // of the file; where the last record begins
		want int
	}{
		{"whole", func([]byte, int) {}, 10},
		{"length not written", func(b []byte, last int) { clear(b[last : last+4]) }, 9},
		{"body not written", func(b []byte, last int) { clear(b[last+20:]) }, 9},
		{"length damaged", func(b []byte, last int) { b[last+1] = 0xff }, 9},
		{"nothing written", func(b []byte, _ int) { clear(b[Begin:]) }, 0},
		{"no header", func(b []byte, _ int) { clear(b) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := Options{Dir: t.TempDir(), Segment: 4096}
			l := openLog(t, o)
			last := 0
			for i := range 10 {
				last = l.current.end
				l.Append(record(fmt.Sprint(i)))
			}
			path := l.current.path
			l.crash()
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tt.tear(b, last)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			usage := &receiver{}
			openLog(t, o).Close(t.Context(), usage.append)
			if len(usage.got) != tt.want {
				t.Errorf("%d records came, want %d", len(usage.got), tt.want)
			}
		})
	}
}

// TestFull shows that a full disk costs records and says so, but no call, and
// that the log goes on when there is room again.
func TestFull(t *testing.T) {
	t.Parallel()
	l := openLog(t, Options{Dir: t.TempDir(), Segment: 4096, Bytes: 8192})
	for range 1000 {
		l.Append(record("x"))
	}
	if err := l.lost(); err == nil {
		t.Error("nothing was lost in two segments")
	}
	usage := &receiver{}
	if err := l.ship(t.Context(), usage.append); err != nil {
		t.Fatal(err)
	}
	kept := len(usage.got)
	l.Append(record("again"))
	l.Close(t.Context(), usage.append)
	if got := usage.got[kept:]; len(got) != 1 || got[0] != "again" {
		t.Errorf("after there was room: %v", got)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	if _, err := Open(Options{Dir: dir}, quiet()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second log of the directory = %v", err)
	}
	l.crash()
	openLog(t, Options{Dir: dir}).crash()
}

func FuzzRead(f *testing.F) {
	s := &segment{data: make([]byte, 4096)}
	s.append(record("greeter"))
	f.Add(s.data[:s.end])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n, err := Read(b)
		if err != nil {
			return
		}
		again := &segment{data: make([]byte, 4096)}
		again.append(&r)
		got, _, err := Read(again.data)
		if err != nil || n > len(b) {
			t.Fatal(n, err)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Error(diff)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	l := openLog(b, Options{Dir: b.TempDir(), Segment: 64 << 20, Bytes: 4 << 30})
	b.Cleanup(l.crash)
	r := record("greeter")
	b.ReportAllocs()
	for b.Loop() {
		if l.Append(r); l.current.end > 60<<20 {
			l.current.end = Begin // the disk is not what is measured
		}
	}
}

func BenchmarkAppendParallel(b *testing.B) {
	l := openLog(b, Options{Dir: b.TempDir(), Segment: 1 << 30, Bytes: 1 << 30})
	b.Cleanup(l.crash)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		r := record("greeter")
		for p.Next() {
			l.Append(r)
		}
	})
}
