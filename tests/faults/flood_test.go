package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/internal/cli/remote"
	storepb "github.com/micro/platform/proto/store"
	"github.com/micro/platform/tests/platform"
)

const (
	// floodMemory is what each process may have that is flooded.
	floodMemory = 512 << 20
	// floodBody is nearly the largest message and body.
	floodBody = 15 << 20
	// flooders of each kind send such again and again: 1.4 GiB at once.
	flooders = 32
	floodFor = 10 * time.Second
)

// TestFlood is experiment E9.
func TestFlood(t *testing.T) {
	t.Parallel()
	inFull(t)
	asRoot(t, "limit memory")
	flood(t).judge(t)
}

// flood has clients send bodies that are as large as may be to a gateway, a proxy and
// a store that have little memory: they are answered or refused, nothing is killed,
// and small calls go on. Without a limit something has to be killed, or else the
// method would show nothing.
func flood(t *testing.T) Figures {
	t.Helper()
	const name = "E9 flood of large bodies"
	var figures Figures
	x, refused, kills, small := floodWith(t, "MICRO_PROXY_BUFFERED=33554432", "MICRO_GATEWAY_BUFFERED=33554432")
	figures.count(name, "gateways, proxies and stores killed", kills, 0)
	figures.share(name, "large bodies neither answered nor refused", x.failed(), x.all(), 5)
	figures.least(name, "large bodies answered, and not refused", x.all()-x.failed()-refused, 1)
	figures.share(name, "small calls failed", small.failed(), small.all(), 5)
	_, _, kills, _ = floodWith(t, "MICRO_PROXY_BUFFERED=0", "MICRO_GATEWAY_BUFFERED=0")
	figures.least(name, "killed without a limit", kills, 1)
	return figures
}

// floodWith answers what became of large bodies and small calls, and how many
// processes were killed.
func floodWith(t *testing.T, env ...string) (large *Traffic, refused, kills int, small *Traffic) {
	t.Helper()
	limit := newMemory(t, floodMemory, "gateway", "proxy", "store")
	s, d := site(t, platform.Config{Prepare: limit.prepare, Env: env})
	c := &chaos{T: t, site: s, servers: d}
	c.prepare()
	ctx, stop := context.WithCancel(t.Context())
	var registering sync.WaitGroup
	at := counterService(t)
	registering.Go(func() { s.keepRegistered(ctx, at) })
	defer registering.Wait()
	defer stop()

	f := &flooding{site: s, body: bytes.Repeat([]byte("x"), floodBody)}
	for empty := (&flooding{site: s}); empty.post(ctx, 0) != nil; { // until the gateway knows the service
		if !platform.Until(ctx, time.Now().Add(tryAgain)) {
			t.Fatal("the service is not there")
		}
	}
	large = &Traffic{site: s, counts: map[string]*counted{}, kinds: map[string]kind{
		"large, to a service by gRPC": {f.call, flooders, 0},
		"large, to a service by HTTP": {f.post, flooders, 0},
		"large, to the store by gRPC": {f.write, flooders, 0},
	}}
	mixed := newMixed(s, nil)
	small = &Traffic{site: s, counts: map[string]*counted{}, kinds: map[string]kind{"read, gRPC": mixed.kinds["read, gRPC"], "read, HTTP": mixed.kinds["read, HTTP"]}}
	sending, end := context.WithTimeout(ctx, floodFor)
	defer end()
	var all sync.WaitGroup
	for _, x := range []*Traffic{large, small} {
		all.Go(func() { x.run(sending) })
	}
	all.Wait()
	kills, err := limit.kills()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%v: %d killed, %d refused, at most %s\n%s\n%s", env, kills, f.refused.Load(), limit.peaks(), large, small)
	return large, int(f.refused.Load()), kills, small
}

// flooding is the clients that send large bodies, each on a connection of its own.
type flooding struct {
	site    *Site
	body    []byte
	refused atomic.Int64
}

// call sends one to a service.
func (f *flooding) call(ctx context.Context, _ int) error {
	return f.dialled(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		var out []byte
		return conn.Invoke(ctx, "/counter.Counter/E0", f.body, &out, grpc.ForceCodec(raw{}))
	})
}

// write sends one to the store, which takes less.
func (f *flooding) write(ctx context.Context, n int) error {
	return f.dialled(ctx, func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := storepb.NewStoreClient(conn).Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: fmt.Sprint(n), Value: f.body}})
		return err
	})
}

func (f *flooding) dialled(ctx context.Context, do func(context.Context, *grpc.ClientConn) error) error {
	conn, err := remote.Dial(f.site.Platform.Proxy)
	if err != nil {
		return err
	}
	defer conn.Close()
	err = do(ctx, conn)
	switch code := status.Code(err); {
	case code == codes.ResourceExhausted, code == codes.InvalidArgument,
		code == codes.Unavailable && strings.Contains(err.Error(), "on their way to this server"):
		f.refused.Add(1)
		return nil
	}
	return err
}

// post sends one to a service over HTTP.
func (f *flooding) post(ctx context.Context, _ int) error {
	token, err := f.site.accessToken(ctx)
	if err != nil {
		return err
	}
	body := io.MultiReader(bytes.NewReader([]byte(`{"x":"`)), bytes.NewReader(f.body), bytes.NewReader([]byte(`"}`)))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.site.Platform.API+"/counter/Counter/E0", body)
	if err != nil {
		return err
	}
	req.ContentLength = int64(len(f.body) + len(`{"x":""}`))
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	web := &http.Client{Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	rsp, err := web.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	if _, err := io.Copy(io.Discard, rsp.Body); err != nil {
		return err
	}
	switch rsp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusRequestEntityTooLarge:
		f.refused.Add(1)
		return nil
	}
	return fmt.Errorf("%s", rsp.Status)
}
