package usage

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/meter"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/tenants"
	namespacespb "github.com/micro/platform/proto/namespaces"
	usagepb "github.com/micro/platform/proto/usage"
)

var today = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func asComponent(t testing.TB) context.Context {
	return identity.With(t.Context(), identity.Caller{ID: "proxy", Type: identity.Component, Namespace: identity.Platform})
}

func as(t testing.TB, namespace string, scopes ...string) context.Context {
	return identity.With(t.Context(), identity.Caller{ID: "jane", Type: identity.User, Namespace: namespace, Scopes: scopes})
}

func setup(t testing.TB) *Service {
	t.Helper()
	s, _ := setupWith(t, plans.Limits{Requests: plans.Unlimited, Egress: plans.Unlimited})
	return s
}

// setupWith answers a service whose namespaces are all on one plan, with prices,
// and what it asks component namespaces.
func setupWith(t testing.TB, limits plans.Limits) (*Service, *namespaces) {
	t.Helper()
	pool, log := pgtest.New(t, "usage"), slog.New(slog.DiscardHandler)
	sender, err := mail.NewSender(mail.Server{Address: "127.0.0.1:25", From: "micro@localhost"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := mail.NewOutbox(pool, "usage", seal.Cluster{Secret: pgtest.Secret}, sender, log)
	if err != nil {
		t.Fatal(err)
	}
	n := &namespaces{throttles: map[string]*namespacespb.SetThrottleRequest{}}
	s := New(pool, n, out, log, Options{Budget: 10_000, MaxBudgets: 3, KeepDetails: 90, KeepDays: 731})
	s.now = func() time.Time { return today }
	s.keeper.now, s.keeper.tenants = s.now, tenants.Fixed(limits)
	return s, n
}

// namespaces is the component, as far as usage knows it.
type namespaces struct {
	grpc.ClientConnInterface

	throttles map[string]*namespacespb.SetThrottleRequest // by namespace and service
	told      int
}

// Invoke implements grpc.ClientConnInterface.
func (n *namespaces) Invoke(_ context.Context, method string, in, out any, _ ...grpc.CallOption) error {
	switch rsp := out.(type) {
	case *namespacespb.ListPlansResponse:
		rsp.Plans = []*namespacespb.Plan{{Id: "fixed", Price: &namespacespb.Price{Currency: "EUR", Units: map[string]int64{"million_requests": 100_000_000}}}} // 1 EUR a call
	case *namespacespb.GetResponse:
		rsp.Namespace = &namespacespb.Namespace{Id: in.(*namespacespb.GetRequest).GetNamespace(), Owner: "jane@example.com"}
	case *namespacespb.SetThrottleResponse:
		req := in.(*namespacespb.SetThrottleRequest)
		n.told++
		n.throttles[req.GetNamespace()+"/"+req.GetService()] = req
	default:
		return errors.New(codes.Unimplemented, "%s", method)
	}
	return nil
}

// edge is a log of an edge, whose records the test sends as it likes.
type edge struct {
	t   testing.TB
	log *meter.Log
}

func newEdge(t testing.TB) *edge {
	t.Helper()
	l, err := meter.Open(meter.Options{Dir: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &edge{t, l}
}

// batch answers records as the edge would send them, and ends the edge.
func (e *edge) batch(records ...meter.Record) *usagepb.AppendRequest {
	e.t.Helper()
	for _, r := range records {
		e.log.Append(&r)
	}
	var sent *usagepb.AppendRequest
	e.log.Close(e.t.Context(), func(_ context.Context, req *usagepb.AppendRequest) (*usagepb.AppendResponse, error) {
		sent = proto.Clone(req).(*usagepb.AppendRequest) // the memory of its data goes with the log
		return &usagepb.AppendResponse{Offset: req.GetOffset() + uint64(len(req.GetData()))}, nil
	})
	return sent
}

func call(at time.Time, service string, class meter.Class) meter.Record {
	return meter.Record{At: at, Namespace: "acme", Service: service, Endpoint: "Greeter.Hello", Account: "jane", Class: class, Ended: true, Inside: true, BytesIn: 10, BytesOut: 100}
}

func appendTo(t testing.TB, s *Service, req *usagepb.AppendRequest) uint64 {
	t.Helper()
	rsp, err := s.Append(asComponent(t), req)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.GetOffset()
}

func total(t testing.TB, s *Service) *usagepb.Row {
	t.Helper()
	rsp, err := s.Read(as(t, "acme"), &usagepb.ReadRequest{From: "2026-01-01", To: "2026-12-31"})
	if err != nil {
		t.Fatal(err)
	}
	return rsp.GetTotal()
}

func TestRead(t *testing.T) {
	t.Parallel()
	s := setup(t)
	yesterday := today.AddDate(0, 0, -1)
	late := time.Date(2026, 11, 20, 23, 59, 59, 999e6, time.UTC)
	other := call(today, "greeter", meter.OK)
	other.Namespace = "other"
	stranger := call(today, "greeter", meter.OK)
	stranger.Account, stranger.Endpoint = "", ""
	moving := call(today, "streamer", meter.OK)
	moving.Ended = false
	appendTo(t, s, newEdge(t).batch(
		call(today, "greeter", meter.OK), call(today, "greeter", meter.OK), call(today, "greeter", meter.ServerError),
		call(today, "greeter", meter.Refused), call(yesterday, "store", meter.OK), call(late, "store", meter.ClientError),
		stranger, other, moving))
	for _, tt := range []struct {
		name string
		req  *usagepb.ReadRequest
		want []*usagepb.Row
	}{
		{"in all", &usagepb.ReadRequest{}, []*usagepb.Row{{Calls: 6, Refused: 1, BytesIn: 80, BytesOut: 800}}},
		{"by day", &usagepb.ReadRequest{By: []string{"day"}}, []*usagepb.Row{
			{Day: "2026-11-20", Calls: 2, BytesIn: 20, BytesOut: 200},
			{Day: "2026-11-21", Calls: 4, Refused: 1, BytesIn: 60, BytesOut: 600}}},
		{"one day", &usagepb.ReadRequest{From: "2026-11-20", To: "2026-11-20", By: []string{"service"}}, []*usagepb.Row{
			{Service: "store", Calls: 2, BytesIn: 20, BytesOut: 200}}},
		{"one service by member and class", &usagepb.ReadRequest{Service: "greeter", By: []string{"member", "class"}}, []*usagepb.Row{
			{Class: "ok", Calls: 1, BytesIn: 10, BytesOut: 100},
			{Member: "jane", Class: "ok", Calls: 2, BytesIn: 20, BytesOut: 200},
			{Member: "jane", Class: "refused", Refused: 1, BytesIn: 10, BytesOut: 100},
			{Member: "jane", Class: "server_error", Calls: 1, BytesIn: 10, BytesOut: 100}}},
		{"by endpoint", &usagepb.ReadRequest{Service: "greeter", By: []string{"endpoint"}}, []*usagepb.Row{
			{Calls: 1, BytesIn: 10, BytesOut: 100},
			{Endpoint: "Greeter.Hello", Calls: 3, Refused: 1, BytesIn: 40, BytesOut: 400}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rsp, err := s.Read(as(t, "acme"), tt.req)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, rsp.GetRows(), protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("export", func(t *testing.T) {
		out := &exported{ctx: as(t, "acme")}
		if err := s.Export(&usagepb.ExportRequest{}, out); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(total(t, s), out.sum(), protocmp.Transform()); diff != "" {
			t.Errorf("the export sums up to something else: %s", diff)
		}
	})
}

// exported takes an export.
type exported struct {
	grpc.ServerStream
	ctx  context.Context
	rows []*usagepb.Row
}

func (e *exported) Context() context.Context  { return e.ctx }
func (e *exported) Send(r *usagepb.Row) error { e.rows = append(e.rows, r); return nil }

func (e *exported) sum() *usagepb.Row {
	var a amounts
	for _, r := range e.rows {
		a.add(amounts{Calls: r.GetCalls(), Refused: r.GetRefused(), BytesIn: r.GetBytesIn(), BytesOut: r.GetBytesOut()})
	}
	return row{amounts: a}.proto()
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, tt := range []struct {
		name string
		ctx  context.Context
		req  *usagepb.ReadRequest
		want codes.Code
	}{
		{"a viewer", as(t, "acme"), &usagepb.ReadRequest{Namespace: "acme"}, codes.OK},
		{"nobody", t.Context(), &usagepb.ReadRequest{Namespace: "acme"}, codes.Unauthenticated},
		{"another namespace", as(t, "other", "admin"), &usagepb.ReadRequest{Namespace: "acme"}, codes.PermissionDenied},
		{"an operator", as(t, "micro", "admin"), &usagepb.ReadRequest{Namespace: "acme"}, codes.OK},
		{"no day", as(t, "acme"), &usagepb.ReadRequest{From: "yesterday"}, codes.InvalidArgument},
		{"backwards", as(t, "acme"), &usagepb.ReadRequest{From: "2026-11-03", To: "2026-11-02"}, codes.InvalidArgument},
		{"too long", as(t, "acme"), &usagepb.ReadRequest{From: "2025-11-03", To: "2026-11-04"}, codes.InvalidArgument},
		{"no such group", as(t, "acme"), &usagepb.ReadRequest{By: []string{"hour"}}, codes.InvalidArgument},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := s.Read(tt.ctx, tt.req); errors.Code(err) != tt.want {
				t.Errorf("Read = %v, want %v", err, tt.want)
			}
			err := s.Export(&usagepb.ExportRequest{Namespace: tt.req.GetNamespace(), From: tt.req.GetFrom(), To: tt.req.GetTo()}, &exported{ctx: tt.ctx})
			if want := tt.want; len(tt.req.GetBy()) == 0 && errors.Code(err) != want {
				t.Errorf("Export = %v, want %v", err, want)
			}
		})
	}
}

func TestBadAppends(t *testing.T) {
	t.Parallel()
	s := setup(t)
	good := newEdge(t).batch(call(today, "greeter", meter.OK))
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		change func(*usagepb.AppendRequest)
		want   codes.Code
	}{
		{"a member", as(t, "acme", "admin"), func(*usagepb.AppendRequest) {}, codes.PermissionDenied},
		{"an operator", as(t, "micro", "admin"), func(*usagepb.AppendRequest) {}, codes.PermissionDenied},
		{"another format", asComponent(t), func(r *usagepb.AppendRequest) { r.Format++ }, codes.InvalidArgument},
		{"no log", asComponent(t), func(r *usagepb.AppendRequest) { r.Log = nil }, codes.InvalidArgument},
		{"no segment", asComponent(t), func(r *usagepb.AppendRequest) { r.Segment = 0 }, codes.InvalidArgument},
		{"in the header", asComponent(t), func(r *usagepb.AppendRequest) { r.Offset = 3 }, codes.InvalidArgument},
		{"nothing", asComponent(t), func(r *usagepb.AppendRequest) { r.Data = nil }, codes.InvalidArgument},
		{"too much", asComponent(t), func(r *usagepb.AppendRequest) { r.Data = make([]byte, maxData+1) }, codes.InvalidArgument},
		{"damaged", asComponent(t), func(r *usagepb.AppendRequest) { r.Data[20] ^= 1 }, codes.InvalidArgument},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad := proto.Clone(good).(*usagepb.AppendRequest)
			tt.change(bad)
			if _, err := s.Append(tt.ctx, bad); errors.Code(err) != tt.want {
				t.Errorf("Append = %v, want %v", err, tt.want)
			}
		})
	}
	if got := total(t, s).GetCalls(); got != 0 {
		t.Errorf("%d calls were counted", got)
	}
}

// TestFoldedOnce sends parts of a log in any order, again and cut otherwise, at
// the same time: each record counts once.
func TestFoldedOnce(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const n = 200
	records := make([]meter.Record, n)
	for i := range records {
		records[i] = call(today, fmt.Sprintf("s%d", i%7), meter.OK)
	}
	whole := newEdge(t).batch(records...)
	size := len(whole.GetData()) / n
	part := func(from, to int) *usagepb.AppendRequest {
		return &usagepb.AppendRequest{Log: whole.GetLog(), Segment: whole.GetSegment(), Format: whole.GetFormat(),
			Offset: whole.GetOffset() + uint64(from*size), Data: whole.GetData()[from*size : to*size]}
	}
	if got := appendTo(t, s, part(5, 10)); got != meter.Begin {
		t.Errorf("records before others: folded up to %d, want none", got)
	}
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for at := 0; at < n; {
				to := min(n, at+1+mathrand.IntN(20))
				rsp, err := s.Append(asComponent(t), part(at, to))
				if err != nil {
					t.Error(err)
					return
				}
				at = int(rsp.GetOffset()-meter.Begin) / size
			}
		})
	}
	senders.Wait()
	appendTo(t, s, whole)
	second := newEdge(t).batch(records[:3]...)
	second.Log, second.Segment = whole.GetLog(), 2
	appendTo(t, s, second)
	appendTo(t, s, whole) // the segment before
	appendTo(t, s, second)
	if got := total(t, s); got.GetCalls() != n+3 || got.GetBytesOut() != 100*(n+3) {
		t.Errorf("counted %v, want %d calls", got, n+3)
	}
}

func TestPlausible(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		at, want time.Time
	}{
		{"now", today, today},
		{"a month late", today.AddDate(0, -1, 0), today.AddDate(0, -1, 0)},
		{"a clock that is a little fast", today.Add(time.Minute), today.Add(time.Minute)},
		{"no clock", time.UnixMilli(0), today},
		{"from the future", today.AddDate(100, 0, 0), today},
	} {
		if got := plausible(tt.at, today); !got.Equal(tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// BenchmarkFold is folding batches as edges send them: of 20 namespaces with 5
// services of 4 endpoints.
func BenchmarkFold(b *testing.B) {
	s := setup(b)
	var records []meter.Record
	for i := range 5000 {
		r := call(today, fmt.Sprintf("service-%d", i%5), meter.OK)
		r.Namespace, r.Endpoint = fmt.Sprintf("namespace-%d", i%20), fmt.Sprintf("Greeter.E%d", i%4)
		records = append(records, r)
	}
	req := newEdge(b).batch(records...)
	b.ResetTimer()
	for range b.N {
		req.Log = []byte(rand.Text())[:16]
		appendTo(b, s, req)
	}
	b.ReportMetric(float64(b.N*len(records))/b.Elapsed().Seconds(), "records/s")
}
