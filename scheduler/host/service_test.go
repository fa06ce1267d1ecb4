package host

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/identity"
	hostpb "github.com/micro/platform/proto/host"
)

// recorder is a stream of Log.
type recorder struct {
	grpc.ServerStream
	ctx context.Context
}

func (r recorder) Context() context.Context         { return r.ctx }
func (r recorder) Send(_ *hostpb.LogResponse) error { return nil }

// TestOnlyComponents makes every call as who may not, and with input that is none.
func TestOnlyComponents(t *testing.T) {
	t.Parallel()
	docker, err := dockerhost.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	docker.NegotiateAPIVersion(t.Context()) // the client's first calls must not be at once
	s := New(docker, "t00000000", slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	calls := map[string]func(context.Context) error{
		"Info":  func(ctx context.Context) error { _, err := s.Info(ctx, &hostpb.InfoRequest{}); return err },
		"Probe": func(ctx context.Context) error { _, err := s.Probe(ctx, &hostpb.ProbeRequest{}); return err },
		"Busy": func(ctx context.Context) error {
			_, err := s.Busy(ctx, &hostpb.BusyRequest{Namespace: "ns"})
			return err
		},
		"Busy nowhere": func(ctx context.Context) error {
			_, err := s.Busy(ctx, &hostpb.BusyRequest{Namespace: "ns", Service: "web", Version: "latest", Revision: 1, Addresses: []string{"web"}})
			return err
		},
		"End": func(ctx context.Context) error {
			_, err := s.End(ctx, &hostpb.EndRequest{Container: "none"})
			return err
		},
		"Log":  func(ctx context.Context) error { return s.Log(&hostpb.LogRequest{}, recorder{ctx: ctx}) },
		"Join": func(ctx context.Context) error { _, err := s.Join(ctx, &hostpb.JoinRequest{}); return err },
		"Stop": func(ctx context.Context) error {
			_, err := s.Stop(ctx, &hostpb.StopRequest{Containers: []string{"none"}})
			return err
		},
		"Stop too many": func(ctx context.Context) error {
			_, err := s.Stop(ctx, &hostpb.StopRequest{Containers: make([]string, maxStops+1)})
			return err
		},
		"Join too many": func(ctx context.Context) error {
			_, err := s.Join(ctx, &hostpb.JoinRequest{Networks: strings.Split(strings.Repeat("n,", maxNetworks), ",")})
			return err
		},
	}
	as := func(namespace, kind string) context.Context {
		return identity.With(t.Context(), identity.Caller{ID: "a", Namespace: namespace, Type: kind, Scopes: []string{"admin"}})
	}
	component := as(identity.Platform, identity.Component)
	want := map[string]codes.Code{
		"Busy": codes.InvalidArgument, "Busy nowhere": codes.InvalidArgument, "End": codes.NotFound, "Log": codes.InvalidArgument, "Join too many": codes.InvalidArgument, "Stop too many": codes.InvalidArgument,
	}
	for name, call := range calls {
		for who, ctx := range map[string]context.Context{
			"a tenant": as("ns", identity.User), "a service": as("ns", identity.Service), "an operator": as(identity.Platform, identity.User),
		} {
			if err := call(ctx); errors.Code(err) != codes.PermissionDenied {
				t.Errorf("%s by %s = %v", name, who, err)
			}
		}
		if err := call(component); errors.Code(err) != want[name] {
			t.Errorf("%s = %v, want %v", name, err, want[name])
		}
	}
}
