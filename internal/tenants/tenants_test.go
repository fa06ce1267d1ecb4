package tenants

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// namespaces is component namespaces: every stream that is opened is told what
// the test sends to it, and ends when the test closes it.
type namespaces struct {
	namespacespb.ComponentsClient
	streams chan chan *namespacespb.Change
}

type stream struct {
	grpc.ServerStreamingClient[namespacespb.Change]
	ctx     context.Context
	changes chan *namespacespb.Change
}

func (n namespaces) Watch(ctx context.Context, _ *namespacespb.WatchRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[namespacespb.Change], error) {
	if !identity.CallsAsComponent(ctx) {
		return nil, errors.New(codes.PermissionDenied, "for components only")
	}
	select {
	case c := <-n.streams:
		return stream{ctx: ctx, changes: c}, nil
	default:
		return nil, errors.New(codes.Unavailable, "away")
	}
}

func (s stream) Recv() (*namespacespb.Change, error) {
	select {
	case c, ok := <-s.changes:
		if !ok {
			return nil, io.EOF
		}
		return c, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

// start runs Tenants; open makes the next stream.
func start(t *testing.T) (x *Tenants, changed chan string, open func(...*namespacespb.Change) chan *namespacespb.Change) {
	t.Helper()
	n, changed := namespaces{streams: make(chan chan *namespacespb.Change, 1)}, make(chan string, 100_000)
	x = New(n, slog.New(slog.DiscardHandler), func(namespace string) { changed <- namespace })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return x, changed, func(first ...*namespacespb.Change) chan *namespacespb.Change {
		s := make(chan *namespacespb.Change, 100_000)
		for _, c := range first {
			s <- c
		}
		n.streams <- s
		return s
	}
}

func catalogue(t *testing.T, standard string) (out []*namespacespb.Change) {
	t.Helper()
	c, err := plans.Standard()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Plans {
		out = append(out, &namespacespb.Change{Plan: &namespacespb.Plan{Id: p.ID, Limits: p.Limits.Map(), Default: p.ID == standard}})
	}
	return out
}

func told(t *testing.T, changed chan string, want string) {
	t.Helper()
	select {
	case got := <-changed:
		if got != want {
			t.Errorf("told of %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("not told of %q", want)
	}
}

func of(t *testing.T, x *Tenants, namespace string) *Tenant {
	t.Helper()
	got, err := x.Of(t.Context(), namespace)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestChanges(t *testing.T) {
	t.Parallel()
	x, changed, open := start(t)
	s := open(append(catalogue(t, "free"), &namespacespb.Change{Tenant: &namespacespb.Tenant{Namespace: "big", Plan: "pro"}}, &namespacespb.Change{Ready: true})...)
	if got := of(t, x, "nobody"); got.Plan != "free" || got.Limits.Services != 3 || got.Suspension != nil || got.Throttle("web").Action != None {
		t.Errorf("nobody = %+v, want the default", got)
	}
	told(t, changed, "")
	if got := of(t, x, "big"); got.Plan != "pro" || got.Limits.Services != 25 {
		t.Errorf("big = %+v", got)
	}
	s <- &namespacespb.Change{Tenant: &namespacespb.Tenant{Namespace: "big", Plan: "pro", Limits: map[string]int64{"services": 100, "unheard_of": 1},
		Suspension: &namespacespb.Suspension{Reason: "unpaid", Since: 1_800_000_000},
		Throttles:  []*namespacespb.Throttle{{Action: namespacespb.Action_SLOW, Reason: "all"}, {Service: "web", Action: namespacespb.Action_STOP, Reason: "web"}}}}
	told(t, changed, "big")
	got := of(t, x, "big")
	if got.Limits.Services != 100 || got.Limits.Members != 10 || got.Suspension.Reason != "unpaid" || got.Suspension.Since.Unix() != 1_800_000_000 {
		t.Errorf("big = %+v", got)
	}
	if web, other := got.Throttle("web"), got.Throttle("other"); web.Action != Stop || other.Action != Slow || other.Reason != "all" {
		t.Errorf("throttles %+v, %+v", web, other)
	}

	// Away, what was known holds; a new snapshot replaces all of it.
	close(s)
	if again := of(t, x, "big"); again != got {
		t.Errorf("big = %+v while namespaces is away", again)
	}
	s = open(append(catalogue(t, "free"), &namespacespb.Change{Ready: true})...)
	told(t, changed, "")
	if got := of(t, x, "big"); got.Plan != "free" || got.Suspension != nil {
		t.Errorf("big = %+v, want the default after a new snapshot", got)
	}
	s <- &namespacespb.Change{Tenant: &namespacespb.Tenant{Namespace: "big", Plan: "free"}}
	told(t, changed, "big")
	if len(x.now.known) != 0 {
		t.Error("what is as the default takes memory")
	}
}

// TestNeverReached shows that nobody is let loose before anything is known.
func TestNeverReached(t *testing.T) {
	t.Parallel()
	x, _, _ := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := x.Of(ctx, "a"); errors.Code(err) != codes.DeadlineExceeded {
		t.Errorf("Of = %v, want DeadlineExceeded", err)
	}
	if _, err := x.Of(t.Context(), "a"); errors.Code(err) != codes.Unavailable {
		t.Errorf("Of = %v, want Unavailable", err)
	}
}

// TestMemory shows that 10,000 namespaces that differ take less than 1 KB each.
func TestMemory(t *testing.T) {
	const n = 10_000
	x, changed, open := start(t)
	first := append(catalogue(t, "free"), &namespacespb.Change{Ready: true})
	s := open(first...)
	told(t, changed, "")
	before := heap()
	for i := range n {
		m := &namespacespb.Tenant{Namespace: fmt.Sprintf("namespace-%d", i), Plan: "pro"}
		if i%10 == 0 {
			m.Suspension = &namespacespb.Suspension{Reason: "unpaid"}
		}
		s <- &namespacespb.Change{Tenant: m}
		<-changed
	}
	each := (int64(heap()) - int64(before)) / n
	t.Logf("%d bytes for each of %d namespaces", each, n)
	if each > 1024 || len(x.now.known) != n {
		t.Errorf("%d bytes for each of %d namespaces, want at most 1 KB", each, len(x.now.known))
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestDeleted shows what is known of a namespace on its way out, and of one that
// has the name after it.
func TestDeleted(t *testing.T) {
	t.Parallel()
	x, changed, open := start(t)
	s := open(append(catalogue(t, "free"), &namespacespb.Change{Ready: true})...)
	told(t, changed, "")
	for _, tt := range []struct {
		tenant  *namespacespb.Tenant
		stopped string
		gone    bool
	}{
		{&namespacespb.Tenant{Deleted: &namespacespb.Deleted{State: namespacespb.State_DELETING, Erase: 1_800_000_000}}, "will be erased at 2027-01-15T08:00:00Z", false},
		{&namespacespb.Tenant{Deleted: &namespacespb.Deleted{State: namespacespb.State_ERASING}}, "is erased", true},
		{&namespacespb.Tenant{Deleted: &namespacespb.Deleted{State: namespacespb.State_ERASED}}, "is erased", true},
		{&namespacespb.Tenant{Since: 1_800_000_000}, "", false},
		{&namespacespb.Tenant{}, "", false},
	} {
		tt.tenant.Namespace, tt.tenant.Plan = "acme", "free"
		s <- &namespacespb.Change{Tenant: tt.tenant}
		told(t, changed, "acme")
		got := of(t, x, "acme")
		if why := got.Stopped(); got.Gone() != tt.gone || (why == "") != (tt.stopped == "") || !strings.Contains(why, tt.stopped) || !got.Since.IsZero() != (tt.tenant.GetSince() != 0) {
			t.Errorf("%v: gone %v, stopped %q, since %v", tt.tenant, got.Gone(), why, got.Since)
		}
	}
	if len(x.now.known) != 0 {
		t.Error("what is as the default takes memory")
	}
}
