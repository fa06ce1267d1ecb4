package runtime

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// recorder is the server's side of a stream.
type recorder[T any] struct {
	grpc.ServerStream
	ctx context.Context

	mu   sync.Mutex
	sent []*T
}

func (r *recorder[T]) Context() context.Context { return r.ctx }

func (r *recorder[T]) Send(m *T) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, m)
	return nil
}

func (r *recorder[T]) all() []*T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}

type (
	logRecorder   = recorder[runtimepb.LogRecord]
	watchRecorder = recorder[runtimepb.WatchResponse]
)

func TestWatchRevision(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, source string
		last         state
	}{
		{"runs", "github.com/acme/hello", running},
		{"fails", "github.com/acme/bad-code", failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.create("hello", tt.source)
			w := &watchRecorder{ctx: b.admin}
			done := make(chan error, 1)
			go func() { done <- b.svc.Watch(&runtimepb.WatchRequest{Service: "hello", Revision: 1}, w) }()
			b.await("pending is told", func() bool { return len(w.all()) > 0 })
			b.reconcile()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			got := w.all()
			if got[0].GetStatus() != pending.status() || got[len(got)-1].GetStatus() != tt.last.status() {
				t.Errorf("told: %v", got)
			}
			if tt.last == failed && got[len(got)-1].GetDetail() == "" {
				t.Error("no reason is told")
			}
		})
	}
}

func TestWatchServiceEndsWithIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/hello")
	b.settled("hello", running)
	w := &watchRecorder{ctx: b.admin}
	done := make(chan error, 1)
	go func() { done <- b.svc.Watch(&runtimepb.WatchRequest{Service: "hello"}, w) }()
	b.await("running is told", func() bool { return len(w.all()) > 0 })
	b.delete("hello")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := b.svc.Watch(&runtimepb.WatchRequest{Service: "hello"}, w); errors.Code(err) != codes.NotFound {
		t.Fatalf("Watch of nothing: %v", err)
	}
}

// TestWatchInAnotherProcess watches through a Service that hears of changes from
// Postgres alone.
func TestWatchInAnotherProcess(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := New(b.svc.db.pool, b.bucket, b.svc.box, b.world.peers(), b.svc.opts)
	ctx, cancel := context.WithCancel(t.Context())
	var listening sync.WaitGroup
	listening.Go(func() { other.listen(ctx, slog.New(slog.DiscardHandler)) }) //nolint:errcheck // ends with ctx
	defer listening.Wait()
	defer cancel()
	b.create("hello", "github.com/acme/hello")
	w := &watchRecorder{ctx: b.admin}
	done := make(chan error, 1)
	go func() { done <- other.Watch(&runtimepb.WatchRequest{Service: "hello", Revision: 1}, w) }()
	b.await("pending is told", func() bool { return len(w.all()) > 0 })
	b.reconcile()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := w.all(); got[len(got)-1].GetStatus() != running.status() {
		t.Errorf("told: %v", got)
	}
}

func TestFollowLogs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("hello", "github.com/acme/hello")
	out := &logRecorder{ctx: b.admin}
	done := make(chan error, 1)
	go func() { done <- b.svc.Logs(&runtimepb.LogsRequest{Service: "hello", Stream: true}, out) }()
	b.reconcile()
	b.await("the first revision speaks", func() bool { return len(out.all()) == 1 })
	b.settled("hello", running)
	b.update("hello", "github.com/acme/hello")
	b.await("the second revision speaks", func() bool { return len(out.all()) == 2 })
	b.settled("hello", running)
	b.delete("hello")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := out.all()[1]; got.GetMessage() != "hello from acme/hello/latest/2" || got.GetTimestamp() != 1700000000 {
		t.Errorf("the second line is %v", got)
	}
}

func TestLogsOfFailedStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.reconcile()
	b.create("hello", "github.com/acme/exits")
	b.settled("hello", failed)
	out := &logRecorder{ctx: b.admin}
	if err := b.svc.Logs(&runtimepb.LogsRequest{Service: "hello"}, out); err != nil {
		t.Fatal(err)
	}
	if got := out.all(); len(got) != 1 || got[0].GetMessage() != "hello from acme/hello/latest/1" {
		t.Errorf("the logs are %v", got)
	}
}

func TestBuildLogs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("hello", "github.com/acme/hello")
	for _, tt := range []struct {
		name string
		req  *runtimepb.LogsRequest
		want []string
	}{
		{"the last two lines", &runtimepb.LogsRequest{Service: "hello", Build: true, Count: 2}, []string{"linking", "done"}},
		{"all lines", &runtimepb.LogsRequest{Service: "hello", Build: true}, []string{"compiling", "linking", "done"}},
		{"followed", &runtimepb.LogsRequest{Service: "hello", Build: true, Stream: true}, []string{"compiling", "linking", "done"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := &logRecorder{ctx: b.admin}
			if err := b.svc.Logs(tt.req, out); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range out.all() {
				got = append(got, r.GetMessage())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("lines are %q, want %q", got, tt.want)
			}
		})
	}
}
