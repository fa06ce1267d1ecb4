package swarm

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/identity"
	hostpb "github.com/micro/platform/proto/host"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	agents "github.com/micro/platform/scheduler/host"
	"github.com/micro/platform/scheduler/plan"
)

// several is a driver as for several hosts, all of which are this one.
func several(t *testing.T) *bench {
	t.Helper()
	l := bufconn.Listen(64 << 10)
	b := setupWith(t, func(o *Options) {
		o.Local = false
		o.Dial = func(string) (*grpc.ClientConn, error) {
			return grpc.NewClient("passthrough:///host", grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
		}
		serveHost(t, o.Cluster, l)
	})
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { b.joinLoop(ctx) })
	t.Cleanup(func() { cancel(); work.Wait() })
	return b
}

// serveHost serves the component host of this host.
func serveHost(t *testing.T, cluster string, l net.Listener) {
	t.Helper()
	docker, err := dockerhost.New()
	if err != nil {
		t.Fatal(err)
	}
	component := identity.Caller{ID: "scheduler", Namespace: identity.Platform, Type: identity.Component}
	s := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			return handler(identity.With(ctx, component), req)
		}),
		grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return handler(srv, known{s, identity.With(s.Context(), component)})
		}),
	)
	svc := agents.New(docker, cluster, logged(t))
	hostpb.RegisterHostServer(s, svc)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); svc.Run(ctx) }() //nolint:errcheck // it ends with ctx
	go s.Serve(l)                                   //nolint:errcheck // stopped below
	t.Cleanup(func() { s.Stop(); cancel(); <-done; docker.Close() })
}

// known is a stream whose caller is known.
type known struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (k known) Context() context.Context { return k.ctx }

// edge starts a container that stands for one of the platform's edges, and answers
// its name and its address on Docker's own bridge.
func (b *bench) edge(t *testing.T, args ...string) (id, address string) {
	t.Helper()
	made, err := b.engine.ContainerCreate(t.Context(), &container.Config{
		Image: b.image, Cmd: args, Labels: map[string]string{plan.LabelCluster: b.opts.Cluster, plan.LabelPart: plan.PartEdge},
	}, &container.HostConfig{Runtime: "runc"}, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.engine.ContainerRemove(context.Background(), made.ID, container.RemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	if err := b.engine.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	info, err := b.engine.ContainerInspect(t.Context(), made.ID)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID, info.NetworkSettings.Networks["bridge"].IPAddress + ":8081"
}

// through asks the test program of a service, by way of an edge.
func through(t *testing.T, edge, service, path string, query url.Values) string {
	t.Helper()
	inner := "http://" + service + path + "?" + query.Encode()
	rsp, err := (&http.Client{Timeout: 10 * time.Second}).Get("http://" + edge + "/get?" + url.Values{"url": {inner}}.Encode())
	if err != nil {
		return err.Error()
	}
	defer rsp.Body.Close()
	body, _ := io.ReadAll(rsp.Body) //nolint:errcheck // the text says it
	return string(body)
}

// TestOverlay runs services of two namespaces on networks over several hosts: the
// edge reaches them and they the edge, and nothing else.
func TestOverlay(t *testing.T) {
	t.Parallel()
	b := several(t)
	id, edge := b.edge(t, "serve", ":8081", "proxy")
	one, two := b.plan(t, "one", "web", "serve", ":8080"), b.plan(t, "two", "web", "serve", ":8080")
	at := map[string]string{}
	for _, s := range []plan.Service{one, two} {
		began := time.Now()
		b.apply(t, s)
		t.Logf("Apply: %v", time.Since(began))
		at[s.ID.Namespace] = b.wait(t, s.ID, running).GetInstances()[0].GetAddress()
		t.Logf("RUNNING: %v, at %s", time.Since(began), at[s.ID.Namespace])
	}
	var log []string
	if err := b.Logs(t.Context(), one.ID, 10, false, func(l *schedulerpb.LogLine) error {
		log = append(log, l.GetMessage())
		return nil
	}); err != nil || !slices.Contains(log, "started as serve :8080") {
		t.Errorf("log: %q, %v", log, err)
	}
	if hosts, err := b.Hosts(t.Context()); err != nil || len(hosts) != 1 || hosts[0].GetState() != "ready" || hosts[0].GetRuntime() == "" || !hosts[0].GetUnrouted() || hosts[0].GetProblem() != "" {
		t.Errorf("hosts: %v, %v", hosts, err)
	}
	gateway, err := dockerhost.Gateway(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	outside, err := net.Listen("tcp", net.JoinHostPort(gateway.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	for address, want := range map[string]string{
		plan.EdgeName + ":8081": "yes", at["two"]: "no: ", outside.Addr().String(): "no: ", edge: "no: ", "1.1.1.1:53": "no: ",
	} {
		if got := through(t, edge, at["one"], "/dial", url.Values{"address": {address}}); !strings.HasPrefix(got, want) {
			t.Errorf("a service reaches %s: %q, want %q", address, got, want)
		}
	}

	if err := b.engine.ContainerKill(t.Context(), id, "KILL"); err != nil {
		t.Fatal(err)
	}
	poll(t, func() bool { // it would be in the way of its start
		info, err := b.engine.ContainerInspect(t.Context(), id)
		return err == nil && len(info.NetworkSettings.Networks) == 1
	})
	if err := b.engine.ContainerStart(t.Context(), id, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	poll(t, func() bool {
		info, err := b.engine.ContainerInspect(t.Context(), id)
		return err == nil && len(info.NetworkSettings.Networks) == 3
	})
	if err := b.engine.ContainerKill(t.Context(), id, "KILL"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	id, edge = b.edge(t, "serve", ":8081", "proxy")
	poll(t, func() bool {
		info, err := b.engine.ContainerInspect(t.Context(), id)
		return err == nil && len(info.NetworkSettings.Networks) == 3
	})
	t.Logf("another edge was in both networks after %v", time.Since(began))
	poll(t, func() bool {
		return strings.HasPrefix(through(t, edge, at["one"], "/dial", url.Values{"address": {plan.EdgeName + ":8081"}}), "yes")
	})
}

// drains removes a deployment with a call in hand, which ends first.
func (b *bench) drains(t *testing.T, id plan.ID, edge, at string) {
	t.Helper()
	running, connected, err := b.hosts.busy(t.Context(), id)
	if running != 1 || connected || err != nil {
		t.Errorf("%d run, connected: %v, %v", running, connected, err)
	}
	slow := make(chan string, 1)
	go func() { slow <- through(t, edge, at, "/sleep", url.Values{"for": {"2s"}}) }()
	poll(t, func() bool {
		_, connected, err = b.hosts.busy(t.Context(), id)
		return connected && err == nil
	})
	if err := b.Remove(t.Context(), id, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := <-slow; got != "slept" {
		t.Errorf("the call in hand got %q", got)
	}
}

// TestOverlayGoes drains, removes, and looks for what is left.
func TestOverlayGoes(t *testing.T) {
	t.Parallel()
	b := several(t)
	_, edge := b.edge(t, "serve", ":8081", "proxy")
	s := b.plan(t, "one", "web", "serve", ":8080")
	b.apply(t, s)
	at := b.wait(t, s.ID, running).GetInstances()[0].GetAddress()
	b.drains(t, s.ID, edge, at)
	b.wait(t, s.ID, schedulerpb.Status_GONE)
	poll(t, func() bool {
		if err := b.removeNetworks(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		left, err := b.engine.NetworkList(t.Context(), network.ListOptions{Filters: b.having(nil)})
		return err == nil && len(left) == 0
	})
}
