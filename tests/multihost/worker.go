package multihost

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/micro/platform/tests/platform"
)

// service is what the tenant runs, platform.WriteWorker's.
const service = "worker"

// A long call takes that long, and a stream has so many messages, one every
// 100 ms; both may take some time on top.
const (
	longCall = 5 * time.Second
	messages = 30
	patience = callTime
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
		{"stream, HTTP", false, seldom, messages*100*time.Millisecond + patience, x.stream},
		{"stream, gRPC", true, seldom, messages*100*time.Millisecond + patience, x.streamGRPC},
	}
}

// work has the service work for a time.
func (x *Tenant) work(ctx context.Context, e *Edge, c *http.Client, takes time.Duration, n int) error {
	name := fmt.Sprintf("%v %d", takes, n)
	answer, err := x.http(ctx, c, http.MethodPost, e.API, "/"+service+"/Call", fmt.Sprintf(`{"name":%q}`, name))
	return answers(name, answer, err)
}

func (x *Tenant) workGRPC(ctx context.Context, e *Edge, takes time.Duration, n int) error {
	name := fmt.Sprintf("%v %d", takes, n)
	request, _ := json.Marshal(map[string]string{"name": name}) // strings always marshal
	var answer []byte
	err := e.GRPC.Invoke(x.authorized(ctx), "/worker.Worker/Call", request, &answer, platform.JSON())
	return answers(name, string(answer), err)
}

// answers is the error of a call that was to be answered under a name.
func answers(name, answer string, err error) error {
	if err == nil && !strings.Contains(answer, `"`+name+" from code") {
		err = fmt.Errorf("answered %q", answer)
	}
	return err
}

func (x *Tenant) stream(ctx context.Context, e *Edge, _ int) error {
	answer, err := x.http(ctx, e.HTTP, http.MethodPost, e.API, "/"+service+"/Stream", fmt.Sprintf(`{"count":%d}`, messages))
	if err != nil {
		return err
	}
	n, lines := 0, bufio.NewScanner(strings.NewReader(answer))
	for lines.Scan() {
		n += strings.Count(lines.Text(), "{")
		if strings.Contains(lines.Text(), `"detail"`) {
			return fmt.Errorf("after %d messages: %s", n, lines.Text())
		}
	}
	return complete(n, lines.Err())
}

func (x *Tenant) streamGRPC(ctx context.Context, e *Edge, _ int) error {
	s, err := e.GRPC.NewStream(x.authorized(ctx), &grpc.StreamDesc{ServerStreams: true}, "/worker.Worker/Stream", platform.JSON())
	if err != nil {
		return err
	}
	if err := errors.Join(s.SendMsg(fmt.Appendf(nil, `{"count":%d}`, messages)), s.CloseSend()); err != nil {
		return err
	}
	var n int
	for ; ; n++ {
		var answer []byte
		if err = s.RecvMsg(&answer); err != nil {
			break
		}
	}
	if err == io.EOF {
		err = nil
	}
	return complete(n, err)
}

func complete(n int, err error) error {
	if err == nil && n != messages {
		err = fmt.Errorf("%d messages of %d", n, messages)
	}
	if err != nil {
		err = fmt.Errorf("after %d messages: %w", n, err)
	}
	return err
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
