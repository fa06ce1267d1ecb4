package config

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/linetest"
	configpb "github.com/micro/platform/proto/config"
)

const patience = 10 * time.Second

// stream is what a Watch sends.
type stream struct {
	grpc.ServerStream
	ctx  context.Context
	sent chan *configpb.WatchResponse
}

func (s stream) Context() context.Context { return s.ctx }

func (s stream) Send(m *configpb.WatchResponse) error {
	select {
	case s.sent <- m:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// watching starts a Watch and answers what it sends, and how it ended.
func watching(t *testing.T, s *Service, ctx context.Context, req *configpb.WatchRequest) (<-chan *configpb.WatchResponse, <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	st, ended := stream{ctx: ctx, sent: make(chan *configpb.WatchResponse)}, make(chan error, 1)
	go func() { ended <- s.Watch(req, st); close(ended) }()
	t.Cleanup(func() {
		cancel()
		for range ended {
		}
	})
	return st.sent, ended
}

func sees(t *testing.T, sent <-chan *configpb.WatchResponse, want string) {
	t.Helper()
	select {
	case m := <-sent:
		if m.GetValue().GetData() != want {
			t.Errorf("watched %s, want %s", m.GetValue().GetData(), want)
		}
	case <-time.After(patience):
		t.Fatalf("nothing came, want %s", want)
	}
}

// TestWatch shows that a change reaches watchers at another process, that it
// reaches only those whose value it is, and within a second.
func TestWatch(t *testing.T) {
	t.Parallel()
	a := setup(t)
	b := New(a.db.pool, a.vault.box, a.hub.log, a.opts) // another process, which does not listen
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx := admin(t, "demo")
	value, _ := watching(t, a, ctx, &configpb.WatchRequest{Path: "a.b"})
	whole, _ := watching(t, a, ctx, &configpb.WatchRequest{Namespace: "micro", Options: &configpb.Options{Secret: true}})
	other, _ := watching(t, a, admin(t, "other"), &configpb.WatchRequest{})
	sees(t, value, `null`)
	sees(t, whole, `null`)
	sees(t, other, `null`)
	set(t, b, ctx, "a.b", `1`, false)
	began := time.Now()
	sees(t, value, `1`)
	if took := time.Since(began); took > time.Second {
		t.Errorf("a change took %v to be seen", took)
	}
	sees(t, whole, `{"a":{"b":1}}`)
	set(t, b, ctx, "s", `"hush"`, true)
	sees(t, whole, `{"a":{"b":1},"s":"hush"}`)
	set(t, b, ctx, "a.b", `2`, false)
	sees(t, value, `2`) // and nothing of s
	set(t, b, admin(t, "other"), "x", `1`, false)
	sees(t, other, `{"x":1}`) // and nothing of another namespace
}

func TestWatchers(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := admin(t, "demo")
	for range s.opts.Watchers {
		sent, _ := watching(t, s, ctx, &configpb.WatchRequest{})
		sees(t, sent, `null`)
	}
	_, ended := watching(t, s, ctx, &configpb.WatchRequest{})
	if err := <-ended; errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("one watcher too many: %v", err)
	}
	other, _ := watching(t, s, admin(t, "other"), &configpb.WatchRequest{})
	sees(t, other, `null`)
	_, ended = watching(t, s, as(t, "demo", "user"), &configpb.WatchRequest{Options: &configpb.Options{Secret: true}})
	if err := <-ended; errors.Code(err) != codes.PermissionDenied {
		t.Errorf("a member watches secrets: %v", err)
	}
	_, ended = watching(t, s, t.Context(), &configpb.WatchRequest{})
	if err := <-ended; errors.Code(err) != codes.Unauthenticated {
		t.Errorf("anybody watches: %v", err)
	}
}

// TestWatchOutlivesSilence shows that a connection to Postgres which has died
// without a word is noticed, and what was missed is made up for.
func TestWatchOutlivesSilence(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var line linetest.Line
	t.Cleanup(line.Close)
	o := s.db.pool.Config()
	o.ConnConfig.DialFunc = line.Dial
	pool, err := pgxpool.NewWithConfig(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	deaf := New(s.db.pool, s.vault.box, s.hub.log, s.opts)
	if err := deaf.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	deaf.hub.db = db{pool}
	listen(t, deaf)
	ctx := admin(t, "demo")
	sent, _ := watching(t, deaf, ctx, &configpb.WatchRequest{})
	sees(t, sent, `null`)
	set(t, s, ctx, "a", `1`, false)
	sees(t, sent, `{"a":1}`)
	line.Silence()
	set(t, s, ctx, "a", `2`, false)
	sees(t, sent, `{"a":2}`)
}

// TestWatchOutlivesAConnection shows that what was missed is made up for.
func TestWatchOutlivesAConnection(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := admin(t, "demo")
	sent, _ := watching(t, s, ctx, &configpb.WatchRequest{})
	sees(t, sent, `null`)
	const q = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'LISTEN config_changes' AND datname = current_database()`
	for n := 0; n == 0; { // it may not listen yet
		if err := s.db.pool.QueryRow(t.Context(), q).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	set(t, s, ctx, "a", `1`, false)
	sees(t, sent, `{"a":1}`)
}
