package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/tests/platform"
)

// traffic is calls of every kind through both edges, and what became of them.
type traffic struct {
	platform *platform.Platform
	token    string
	grpc     *grpc.ClientConn
	http     *http.Client
	done     chan struct{}
	end      sync.Once
	work     sync.WaitGroup
	number   atomic.Int64

	mu     sync.Mutex
	ended  map[string]int // by kind
	failed []string
}

// kind is a kind of calls: each through one edge, on a connection that is kept.
type kind struct {
	name    string
	clients int
	make    func(*traffic, context.Context, string) error
}

var kinds = []kind{
	{"gRPC 5ms", 4, (*traffic).callGRPC}, {"HTTP 5ms", 4, (*traffic).callHTTP},
	{"gRPC 5s", 3, (*traffic).callGRPC}, {"HTTP 5s", 3, (*traffic).callHTTP},
	{"gRPC stream", 2, (*traffic).streamGRPC}, {"HTTP stream", 2, (*traffic).streamHTTP},
}

func startTraffic(t *testing.T, p *platform.Platform, x *platform.Person, kinds ...kind) *traffic {
	t.Helper()
	token, err := sh(t.Context(), x, "micro user token")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///"+p.Proxy, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f := &traffic{platform: p, token: strings.TrimSpace(token), grpc: conn, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 20}},
		done: make(chan struct{}), ended: map[string]int{}}
	t.Cleanup(func() { f.stop() }) // when the test has failed
	for _, k := range kinds {
		_, took, _ := strings.Cut(k.name, " ")
		for range k.clients {
			f.work.Go(func() {
				for {
					select {
					case <-f.done:
						return
					default:
						f.one(t, k.name, took, k.make)
					}
				}
			})
		}
	}
	return f
}

func (f *traffic) one(t *testing.T, kind, took string, call func(*traffic, context.Context, string) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	name := fmt.Sprintf("%s %d", took, f.number.Add(1))
	err := call(f, ctx, name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended[kind]++
	if err != nil {
		f.failed = append(f.failed, fmt.Sprintf("%s %s: %v", time.Now().Format("15:04:05.000"), kind+" "+name, err))
	}
}

// stop ends the traffic and answers how many calls there were of each kind, and
// those that failed.
func (f *traffic) stop() (map[string]int, []string) {
	f.end.Do(func() { close(f.done) })
	f.work.Wait()
	f.http.CloseIdleConnections()
	return f.ended, f.failed
}

func (f *traffic) callGRPC(ctx context.Context, name string) error {
	return f.invoke(ctx, "/worker.Worker/Call", name)
}

func (f *traffic) invoke(ctx context.Context, method, name string) error {
	return platform.CallWorker(f.authorized(ctx), f.grpc, method, name)
}

func (f *traffic) authorized(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+f.token)
}

func (f *traffic) callHTTP(ctx context.Context, name string) error {
	return f.ask(ctx, "/worker/Call", name)
}

func (f *traffic) ask(ctx context.Context, path, name string) error {
	rsp, err := f.post(ctx, path, map[string]any{"name": name})
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	answer, err := io.ReadAll(rsp.Body)
	return platform.WorkerAnswered(name, string(answer), err)
}

func (f *traffic) post(ctx context.Context, path string, body any) (*http.Response, error) {
	request, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.platform.API+path, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+f.token)
	r.Header.Set("Content-Type", "application/json")
	rsp, err := f.http.Do(r)
	if err == nil && rsp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(rsp.Body)
		rsp.Body.Close()
		return nil, fmt.Errorf("%s: %s", rsp.Status, answer)
	}
	return rsp, err
}

func (f *traffic) streamGRPC(ctx context.Context, _ string) error {
	return platform.StreamWorker(f.authorized(ctx), f.grpc)
}

func (f *traffic) streamHTTP(ctx context.Context, _ string) error {
	rsp, err := f.post(ctx, "/worker/Stream", json.RawMessage(platform.WorkerStreamRequest))
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	return platform.ReadWorkerStream(rsp.Body)
}

// rounds is how many times the short form goes through everything.
const rounds = 1

// TestRolloutUnderLoad updates, rolls back and scales a service while calls of
// every kind go on through both edges: none of them fails. MICRO_TEST_ROLLOUT is
// how many rounds there are of an update and a rollback; 20 are the long form.
func TestRolloutUnderLoad(t *testing.T) {
	t.Parallel()
	n := rounds
	if v := os.Getenv("MICRO_TEST_ROLLOUT"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatalf("MICRO_TEST_ROLLOUT is %q: a number of rounds is expected", v)
		}
	}
	p := start(t, false)
	x := person(t, p, "operator-of-worker")
	expect(t, x, "", "micro new worker")
	write := func(i int) {
		if err := platform.WriteWorker(filepath.Join(x.Home, "worker"), i); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	expect(t, x, "running", "micro run ./worker")
	load := startTraffic(t, p, x, kinds...)
	answered := func(i int) {
		t.Helper()
		eventually(t, x, fmt.Sprintf("from code %d", i), `micro worker call --name="1ms 0"`)
	}
	answered(0)
	for i := 1; i <= n; i++ {
		write(i)
		expect(t, x, "running", "micro update ./worker")
		answered(i)
		began := time.Now()
		expect(t, x, "rolled back", "micro rollback worker")
		answered(i - 1)
		t.Logf("rollback %d took %v", i, time.Since(began).Round(10*time.Millisecond))
		expect(t, x, "rolled back", "micro rollback worker")
		answered(i)
		expect(t, x, "3 instances", "micro scale worker 3")
		eventually(t, x, "instances=3/3", "micro status worker")
		expect(t, x, "1 instances", "micro scale worker 1")
		eventually(t, x, `"instances": "1/1"`, "micro status worker -o json")
	}
	// One that ends as it starts is not served; the one before it is.
	if _, err := platform.BreakWorker(filepath.Join(x.Home, "worker")); err != nil {
		t.Fatal(err)
	}
	refuse(t, x, "exited with code 3", "micro update ./worker")
	expect(t, x, "no such database", "micro revisions worker")
	answered(n)
	ended, failed := load.stop()
	t.Logf("calls: %v", ended)
	for _, k := range kinds {
		if ended[k.name] == 0 {
			t.Errorf("%s: no call was made", k.name)
		}
	}
	if len(failed) > 0 {
		t.Errorf("%d calls failed:\n%s", len(failed), strings.Join(failed[:min(len(failed), 20)], "\n"))
	}
}
