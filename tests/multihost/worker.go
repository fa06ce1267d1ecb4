package multihost

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/micro/platform/tests/platform"
)

// service is what the tenant runs, platform.WriteWorker's.
const service = "worker"

// A long call takes that long, and a stream so long; both may take some time on
// top.
const (
	longCall   = 5 * time.Second
	longStream = platform.WorkerMessages * 100 * time.Millisecond
	patience   = callTime
)

// serviceKinds are calls of the tenant's own service: short and long, on
// connections that are kept and new ones, and streams.
func (x *Tenant) serviceKinds() []Kind {
	const often, seldom = 100 * time.Millisecond, time.Second
	return []Kind{
		{"short, new HTTP connection", false, often, callTime, func(ctx context.Context, e *Edge, n int) error { return x.work(ctx, e, e.Fresh, 5*time.Millisecond, n) }},
		{"short, kept HTTP connection", false, often, callTime, func(ctx context.Context, e *Edge, n int) error { return x.work(ctx, e, e.HTTP, 5*time.Millisecond, n) }},
		{"short, gRPC", true, often, callTime, func(ctx context.Context, e *Edge, n int) error { return x.workGRPC(ctx, e, 5*time.Millisecond, n) }},
		{"long, HTTP", false, seldom, longCall + patience, func(ctx context.Context, e *Edge, n int) error { return x.work(ctx, e, e.HTTP, longCall, n) }},
		{"long, gRPC", true, seldom, longCall + patience, func(ctx context.Context, e *Edge, n int) error { return x.workGRPC(ctx, e, longCall, n) }},
		{"stream, HTTP", false, seldom, longStream + patience, x.stream},
		{"stream, gRPC", true, seldom, longStream + patience, x.streamGRPC},
	}
}

// work has the service work for a time.
func (x *Tenant) work(ctx context.Context, e *Edge, c *http.Client, takes time.Duration, n int) error {
	name := fmt.Sprintf("%v %d", takes, n)
	answer, err := x.http(ctx, c, http.MethodPost, e.API, "/"+service+"/Call", fmt.Sprintf(`{"name":%q}`, name))
	return platform.WorkerAnswered(name, answer, err)
}

func (x *Tenant) workGRPC(ctx context.Context, e *Edge, takes time.Duration, n int) error {
	return platform.CallWorker(x.authorized(ctx), e.GRPC, "/worker.Worker/Call", fmt.Sprintf("%v %d", takes, n))
}

func (x *Tenant) stream(ctx context.Context, e *Edge, _ int) error {
	answer, err := x.http(ctx, e.HTTP, http.MethodPost, e.API, "/"+service+"/Stream", platform.WorkerStreamRequest)
	if err != nil {
		return err
	}
	return platform.ReadWorkerStream(strings.NewReader(answer))
}

func (x *Tenant) streamGRPC(ctx context.Context, e *Edge, _ int) error {
	return platform.StreamWorker(x.authorized(ctx), e.GRPC)
}

// replicas answers on which hosts the tenant's service runs, and how often.
func (s *Site) replicas(ctx context.Context, namespace string) (map[string]int, error) {
	all := map[string]int{}
	for _, n := range s.Rig.Nodes {
		out, err := n.Docker(ctx, "ps", "-q", "--filter", "label=micro.namespace="+namespace, "--filter", "label=micro.service="+service)
		if err != nil {
			return nil, err
		}
		if count := len(strings.Fields(out)); count > 0 {
			all[n.Name] = count
		}
	}
	return all, nil
}
