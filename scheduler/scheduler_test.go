package scheduler

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/settings"
	"github.com/micro/platform/internal/tenants"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/swarm"
)

func options() Options {
	return Options{EdgeAddress: "172.17.0.1:8081", Subnets: netip.MustParsePrefix("10.203.0.0/16"), Start: time.Second, Memory: 1 << 28, CPUs: 1, Pids: 64, Tmp: 1 << 20}
}

// far is a service whose Docker is not there.
func far(t *testing.T) *Service {
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "docker.sock"))
	docker, err := dockerhost.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	s := New(swarm.New(docker, swarm.Options{Cluster: "t1", Subnets: options().Subnets}, slog.New(slog.DiscardHandler)), "t1", options())
	s.tenants = tenants.Fixed(plans.Limits{})
	return s
}

func as(namespace, kind string) context.Context {
	return identity.With(context.Background(), identity.Caller{ID: "a", Namespace: namespace, Type: kind, Scopes: []string{"admin", "service"}})
}

func valid() *schedulerpb.ApplyRequest {
	return &schedulerpb.ApplyRequest{Deployment: &schedulerpb.Deployment{
		Id: &schedulerpb.ID{Namespace: "demo", Service: "web", Version: "latest", Revision: 1}, Image: "sha256:" + strings.Repeat("a", 64), Instances: 1,
	}}
}

// TestOnlyComponents shows that neither tenants nor operators get through, and
// that a component hears about Docker and about its own mistakes.
func TestOnlyComponents(t *testing.T) {
	s := far(t)
	component := as(identity.Platform, identity.Component)
	for _, tt := range []struct {
		name string
		ctx  context.Context
		req  *schedulerpb.ApplyRequest
		want codes.Code
	}{
		{"anonymous", context.Background(), valid(), codes.Unauthenticated},
		{"tenant", as("demo", identity.User), valid(), codes.PermissionDenied},
		{"tenant's service", as("demo", identity.Service), valid(), codes.PermissionDenied},
		{"false component", as("demo", identity.Component), valid(), codes.PermissionDenied},
		{"operator", as(identity.Platform, identity.User), valid(), codes.PermissionDenied},
		{"no deployment", component, &schedulerpb.ApplyRequest{}, codes.InvalidArgument},
		{"Docker away", component, valid(), codes.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.Apply(tt.ctx, tt.req)
			if got := errors.Code(err); got != tt.want {
				t.Errorf("Apply = %v, want %v", err, tt.want)
			}
			if tt.want == codes.Unavailable && !strings.Contains(err.Error(), "start it with") {
				t.Errorf("Apply = %v, want what to do", err)
			}
			if tt.name == "no deployment" {
				return
			}
			if _, err := s.Remove(tt.ctx, &schedulerpb.RemoveRequest{Id: tt.req.GetDeployment().GetId()}); errors.Code(err) != tt.want {
				t.Errorf("Remove = %v, want %v", err, tt.want)
			}
			if _, err := s.List(tt.ctx, &schedulerpb.ListRequest{}); errors.Code(err) != tt.want {
				t.Errorf("List = %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := s.Remove(component, &schedulerpb.RemoveRequest{}); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("Remove of nothing = %v", err)
	}
}

// TestStartsWithoutDocker shows that the platform comes up all the same.
func TestStartsWithoutDocker(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "docker.sock"))
	var log strings.Builder
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := app.Run(ctx, app.Config{
		// The scheduler takes the keys of callers from auth, at its first call.
		Components: []app.Component{Component}, Environ: map[string]string{"MICRO_AUTH_ADDRESS": "127.0.0.1:1"},
		Platform: app.Platform{PostgresURL: settings.Secret(pgtest.URL(t)), ClusterSecret: pgtest.Secret},
		Log:      slog.New(slog.NewTextHandler(&log, nil)),
		Ready:    func() { time.AfterFunc(time.Second, cancel) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "Docker is not reachable at") {
		t.Errorf("the log says %q", log.String())
	}
}
