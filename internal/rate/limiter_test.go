package rate

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/micro/platform/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// edge runs a limiter until the test ends.
func edge(t testing.TB, r redis.UniversalClient) *Limiter {
	t.Helper()
	l := New(r, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

// load calls an edge so many times a second until ctx ends, and counts the calls
// that were let in.
func load(ctx context.Context, l *Limiter, perSecond int, limit Limit) (let, came int) {
	const step = 5 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return let, came
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * float64(perSecond)); came < due; came++ {
			if l.Take(ctx, limit) == nil {
				let++
			}
		}
	}
}

// TestThreeEdges shows that a limit holds to within 5 % over 10 s at three edges
// with uneven load, and that the calls of each have about the same chance.
func TestThreeEdges(t *testing.T) {
	t.Parallel()
	const over = 10 * time.Second
	for _, tt := range []struct {
		name        string
		rate, burst int64
		loads       [3]int
	}{
		{"more than allowed, uneven", 500, 500, [3]int{150, 600, 1500}},
		{"much more than allowed", 50, 100, [3]int{2000, 200, 20}},
		{"few allowed", 5, 5, [3]int{100, 50, 10}},
		{"many allowed", 5000, 10000, [3]int{9000, 2000, 1000}},
		{"less than allowed", 500, 1000, [3]int{300, 50, 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := redistest.New(t)
			limit := Limit{Key{redistest.Namespace(t), "namespace", ""}, tt.rate, tt.burst}
			ctx, cancel := context.WithTimeout(t.Context(), over)
			defer cancel()
			var let, came [3]int
			var running sync.WaitGroup
			for i, n := range tt.loads {
				l := edge(t, r)
				running.Go(func() { let[i], came[i] = load(ctx, l, n, limit) })
			}
			running.Wait()
			total, wanted := let[0]+let[1]+let[2], came[0]+came[1]+came[2]
			allowed := min(int(tt.rate)*int(over/time.Second)+int(tt.burst), wanted)
			off := 100 * (float64(total) - float64(allowed)) / float64(allowed)
			t.Logf("%d calls, %d of %d allowed were let in (%+.1f %%); at each edge %.0f, %.0f, %.0f %% of its calls", wanted, total, allowed, off,
				100*float64(let[0])/float64(came[0]), 100*float64(let[1])/float64(came[1]), 100*float64(let[2])/float64(came[2]))
			if off > 5 || off < -5 {
				t.Errorf("%d were let in, want %d to within 5 %%", total, allowed)
			}
		})
	}
}

// TestBurstAtOnce shows that a first burst is let in whole, not only as far as a
// first block goes.
func TestBurstAtOnce(t *testing.T) {
	t.Parallel()
	l := edge(t, redistest.New(t))
	limit := Limit{Key{redistest.Namespace(t), "namespace", ""}, 50, 100}
	var let atomic.Int64
	var running sync.WaitGroup
	for range 150 {
		running.Go(func() {
			if l.Take(t.Context(), limit) == nil {
				let.Add(1)
			}
		})
	}
	running.Wait()
	if n := let.Load(); n < 100 || n > 115 {
		t.Errorf("%d of 150 were let in, want the burst of 100 and what came in meanwhile", n)
	}
}

// TestSeveralAtOnce shows that n are taken together or not at all.
func TestSeveralAtOnce(t *testing.T) {
	t.Parallel()
	l := edge(t, redistest.New(t))
	limit := Limit{Key{redistest.Namespace(t), "events", ""}, 1, 100}
	for i, tt := range []struct {
		n    int64
		want bool
	}{{101, false}, {60, true}, {41, false}, {30, true}, {5, true}, {20, false}} {
		if got := l.TakeN(t.Context(), tt.n, limit) == nil; got != tt.want {
			t.Errorf("step %d: %d are taken: %t", i, tt.n, got)
		}
		<-time.After(2 * pause) // what was refused may be asked for again
	}
}

// TestAllOrNothing shows that what is refused by one limit uses nothing of the
// others.
func TestAllOrNothing(t *testing.T) {
	t.Parallel()
	l, namespace := edge(t, redistest.New(t)), redistest.Namespace(t)
	all := Limit{Key{namespace, "namespace", ""}, 1, 30}
	for _, account := range []string{"a", "b"} {
		one := Limit{Key{namespace, "account", account}, 1, 10}
		for n := range 30 {
			if refusal := l.Take(t.Context(), all, one); (refusal == nil) != (n < 10) {
				t.Fatalf("call %d of account %s: %+v", n, account, refusal)
			} else if refusal != nil && (refusal.Limit.Key != one.Key || refusal.Wait <= 0 || refusal.Wait > time.Second) {
				t.Fatalf("call %d of account %s: %+v, want its own limit", n, account, refusal)
			}
		}
	}
}

// TestIdleEdgeGivesBack shows that what one edge has leased and does not use
// gets to another.
func TestIdleEdgeGivesBack(t *testing.T) {
	t.Parallel()
	r := redistest.New(t)
	limit := Limit{Key{redistest.Namespace(t), "namespace", ""}, 1, 500} // hardly any new ones
	a, b := edge(t, r), edge(t, r)
	a.Take(t.Context(), limit)
	let := 0
	for deadline := time.Now().Add(20 * time.Second); let < 495 && time.Now().Before(deadline); {
		if b.Take(t.Context(), limit) == nil {
			let++
		}
	}
	if let < 495 {
		t.Errorf("%d were let in at the other edge, want what the first one does not use", let)
	}
}

// TestRedisAway shows that each edge goes on with its share, at once, and
// shares the limit again afterwards.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	limit := Limit{Key{"a", "namespace", ""}, 200, 200}
	away := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { away.Close() })
	l := edge(t, away)
	for deadline := time.Now().Add(10 * time.Second); !l.Away() && time.Now().Before(deadline); <-time.After(time.Millisecond) {
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	let, came := load(ctx, l, 1000, limit)
	t.Logf("%d of %d were let in within 2 s at a limit of %d/s shared by %d", let, came, limit.Rate, assumed)
	if let < 190 || let > 320 { // half of 200 a second, and half of half a burst
		t.Errorf("%d were let in, want the share of one edge", let)
	}
}

// TestRedisComesBack shows that limits hold again once Redis is there.
func TestRedisComesBack(t *testing.T) {
	t.Parallel()
	l := edge(t, redistest.New(t))
	l.noteAway(fmt.Errorf("cut"))
	for deadline := time.Now().Add(10 * time.Second); l.Away() && time.Now().Before(deadline); <-time.After(time.Millisecond) {
	}
	limit := Limit{Key{redistest.Namespace(t), "namespace", ""}, 1, 10}
	let := 0
	for range 50 {
		if l.Take(t.Context(), limit) == nil {
			let++
		}
	}
	if l.Away() || let != 10 {
		t.Errorf("%d were let in, away: %v; want the burst of 10", let, l.Away())
	}
}

// BenchmarkTake is three limits that are met in memory.
func BenchmarkTake(b *testing.B) {
	l, namespace := edge(b, redistest.New(b)), redistest.Namespace(b)
	const plenty = 100_000_000
	limits := []Limit{
		{Key{namespace, "namespace", ""}, plenty, plenty}, {Key{namespace, "account", "jane@example.com"}, plenty, plenty}, {Key{namespace, "token", "abc"}, plenty, plenty},
	}
	for b.Loop() {
		if r := l.Take(b.Context(), limits...); r != nil {
			b.Fatal(r)
		}
	}
}

// TestFirstCall shows that a first call at an edge is let in although another
// one has asked for more than there is.
func TestFirstCall(t *testing.T) {
	t.Parallel()
	r := redistest.New(t)
	busy, quiet := edge(t, r), edge(t, r)
	limit := Limit{Key{redistest.Namespace(t), "account_rate", "jane"}, 3, 3}
	busy.Take(t.Context(), limit)
	if refusal := quiet.Take(t.Context(), limit); refusal != nil {
		t.Errorf("refused: %+v", refusal)
	}
}
