package proxy_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/meter"
	"github.com/micro/platform/proxy/edge/edgetest"
)

// counted waits until usage has n records of a service, and answers them.
func counted(t *testing.T, u *edgetest.Usage, service string, n int) []meter.Record {
	t.Helper()
	for end := time.Now().Add(settle); ; {
		got := u.Records(service)
		if len(got) >= n {
			return got
		}
		if time.Now().After(end) {
			t.Fatalf("%d calls of %s were counted within %s, want %d: %v", len(got), service, settle, n, got)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// TestMeter shows what calls count as: those that reached their service by how
// they ended, those that did not as refused, each once.
func TestMeter(t *testing.T) {
	t.Parallel()
	usage := &edgetest.Usage{}
	e := startOn(t, edgetest.New(t), usage.Component())
	user, foreigner := bearer(e.User(t, "acme")), bearer(e.User(t, "other"))
	operator := bearer(e.User(t, identity.Platform, "admin"))
	call := func(method, body string, pairs ...string) func(*testing.T) {
		return func(*testing.T) { e.call(method, body, pairs...) } //nolint:errcheck // how it ended is in the record
	}
	record := func(endpoint, account string, class meter.Class, in uint64) []meter.Record {
		return []meter.Record{{Namespace: "acme", Endpoint: endpoint, Account: account, Class: class, Ended: true, BytesIn: in}}
	}
	type test struct {
		name, service string
		do            func(*testing.T)
		want          []meter.Record // of the service, without time and bytes out
	}
	tests := []test{
		{"answered", "answered", call("/answered.Echo/Call", `{"n":1}`, user...), record("Echo.Call", "jane@acme", meter.OK, 7)},
		{"the caller's error", "wrong", call("/wrong.Echo/Fail", `{"id":"echo","code":404}`, user...), record("Echo.Fail", "jane@acme", meter.ClientError, 24)},
		{"a tenant's own 403", "denied", call("/denied.Echo/Fail", `{"id":"echo","code":403}`, user...), record("Echo.Fail", "jane@acme", meter.ClientError, 24)},
		{"the service's error", "broken", call("/broken.Echo/Fail", `{"id":"echo","code":500}`, user...), record("Echo.Fail", "jane@acme", meter.ServerError, 24)},
		{"an endpoint that is not described", "odd", call("/odd.Echo/Nothing", `{}`, user...), record("", "jane@acme", meter.ServerError, 2)},
		{"no account", "locked", call("/locked.Echo/Call", `{}`, metadataOf("acme")...), record("Echo.Call", "", meter.Refused, 0)},
		{"an operator", "helped", call("/helped.Echo/Call", `{}`, append(operator, metadataOf("acme")...)...), record("Echo.Call", "operator", meter.OK, 2)},
		{"no instance", "down", func(t *testing.T) {
			call("/down.Echo/Call", `{}`, user...)(t)
		}, record("Echo.Call", "jane@acme", meter.Refused, 0)},
		{"a stream", "streamed", func(t *testing.T) { streamAll(t, e, "/streamed.Echo/Stream", user) }, record("Echo.Stream", "jane@acme", meter.OK, 7)},
		{"a stream whose client leaves", "left", func(t *testing.T) { leaveStream(t, e, "/left.Echo/Silent", user) }, record("Echo.Silent", "jane@acme", meter.ClientError, 7)},
		{"a namespace that is not the caller's", "foreign", call("/foreign.Echo/Call", `{}`, append(foreigner, metadataOf("acme")...)...), nil},
	}
	for _, tt := range tests {
		s := edgetest.NewService(t, tt.service)
		e.Register("acme", s.Entry())
		e.until(codes.OK, "/"+tt.service+".Echo/Call", user...)
		if tt.service == "down" {
			s.Stop()
		}
	}
	before := map[string]int{}
	for _, tt := range tests {
		before[tt.service] = len(counted(t, usage, tt.service, 1))
		tt.do(t)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := counted(t, usage, tt.service, before[tt.service]+len(tt.want))[before[tt.service]:]
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(meter.Record{}, "At", "BytesOut", "Service"), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func metadataOf(namespace string) []string { return []string{"micro-namespace", namespace} }

func open(t *testing.T, e *edge, ctx context.Context, method string, pairs []string) grpc.ClientStream {
	t.Helper()
	ctx = metadata.AppendToOutgoingContext(ctx, pairs...)
	s, err := e.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, edgetest.Codec())
	if err != nil {
		t.Fatal(err)
	}
	in := []byte(`{"n":1}`)
	if err := s.SendMsg(&in); err != nil {
		t.Fatal(err)
	}
	return s
}

func streamAll(t *testing.T, e *edge, method string, pairs []string) {
	t.Helper()
	s := open(t, e, t.Context(), method, pairs)
	for {
		var out []byte
		if err := s.RecvMsg(&out); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func leaveStream(t *testing.T, e *edge, method string, pairs []string) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	time.AfterFunc(200*time.Millisecond, leave)
	s := open(t, e, ctx, method, pairs)
	var out []byte
	if err := s.RecvMsg(&out); err == nil {
		t.Errorf("a silent stream said %s", out)
	}
}

// TestAnonymousCountForNobody shows that nobody can make figures in a namespace
// by asking for what is not there.
func TestAnonymousCountForNobody(t *testing.T) {
	t.Parallel()
	usage := &edgetest.Usage{}
	e := startOn(t, edgetest.New(t), usage.Component())
	e.Register("acme", edgetest.NewService(t, "echo").Entry())
	e.until(codes.OK, "/echo.Echo/Call", bearer(e.User(t, "acme"))...)
	for _, method := range []string{"/nothing.Echo/Call", "/auth.Auth/Token", "/auth.Nothing/At"} {
		e.call(method, "{}", metadataOf("acme")...) //nolint:errcheck // it is refused
	}
	e.until(codes.OK, "/echo.Echo/Call", bearer(e.User(t, "acme"))...)
	counted(t, usage, "echo", 2)
	if got := append(usage.Records(""), usage.Records("auth")...); len(got) > 0 {
		t.Errorf("counted %v", got)
	}
}
