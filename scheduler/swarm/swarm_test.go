package swarm

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"go.uber.org/goleak"

	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/pause"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/plan"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		removeProgram()
		os.Exit(code)
	}))
}

// bench is one driver on the real Docker, with a cluster of its own.
type bench struct {
	*Driver
	engine *client.Client
	image  string
	states chan *schedulerpb.Status
}

func setup(t *testing.T) *bench {
	t.Helper()
	return setupWith(t, func(*Options) {})
}

func setupWith(t *testing.T, change func(*Options)) *bench {
	t.Helper()
	engine, err := dockerhost.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	b := &bench{engine: engine, image: program(t), states: make(chan *schedulerpb.Status, 1000)}
	o := Options{Cluster: fmt.Sprintf("t%x", time.Now().UnixNano()&0xffffff), Subnets: netip.MustParsePrefix("10.202.0.0/16"), Start: 4 * time.Second, Local: true}
	change(&o)
	b.Driver = New(engine, o, logged(t))
	t.Cleanup(b.Close)
	// The first test on a machine turns swarm mode on, and the others wait.
	if err := b.join(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.run(t)
	return b
}

// run runs the driver, with a watcher, until the test ends, and then removes
// what it made.
func (b *bench) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { b.Run(ctx) })
	work.Go(func() {
		for ctx.Err() == nil { // it is sent away while Docker is
			b.Watch(ctx, func(s *schedulerpb.Status) error { b.states <- s; return nil }) //nolint:errcheck // likewise
			pause.For(ctx, 50*time.Millisecond)                                           //nolint:errcheck // the loop ends
		}
	})
	t.Cleanup(func() {
		cancel()
		work.Wait()
		b.clean(t)
	})
}

// logged writes into the log of a test.
func logged(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (b *bench) clean(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	w, err := b.read(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	for _, s := range w.services {
		if id, ok := plan.FromLabels(s.Spec.Labels); ok {
			if err := b.Remove(ctx, id, 0); err != nil {
				t.Error(err)
			}
		}
	}
	for ctx.Err() == nil {
		if err := b.removeNetworks(ctx, nil); err != nil {
			t.Error(err)
		}
		left, err := b.engine.NetworkList(ctx, network.ListOptions{Filters: b.having(nil)})
		if err == nil && len(left) == 0 {
			return
		}
		pause.For(ctx, 200*time.Millisecond)
	}
	t.Error("networks are left over")
}

// plan plans a deployment of the test program.
func (b *bench) plan(t *testing.T, namespace, service string, args ...string) plan.Service {
	t.Helper()
	p, err := plan.New(plan.Deployment{
		ID:    plan.ID{Namespace: namespace, Service: service, Version: "latest", Revision: 1},
		Image: b.image, Args: args, Instances: 1, Env: []string{"OWN=yes", "PORT=1"},
	}, plan.Config{Cluster: b.opts.Cluster, Edge: "172.17.0.1:8081", Limits: plan.Limits{Memory: 64 << 20, CPUs: 1, Pids: 64, Tmp: 16 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (b *bench) apply(t *testing.T, s plan.Service) {
	t.Helper()
	if err := b.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// waiting is longer than Docker takes for a change on a host that compiles and
// starts much else: on a busy disk its swarm writes for tens of seconds.
const waiting = 2 * time.Minute

// wait waits for a state of a deployment.
func (b *bench) wait(t *testing.T, id plan.ID, want schedulerpb.Status_State) *schedulerpb.Status {
	t.Helper()
	return b.waitFor(t, id, func(s *schedulerpb.Status) bool { return s.GetState() == want })
}

func (b *bench) waitFor(t *testing.T, id plan.ID, ok func(*schedulerpb.Status) bool) *schedulerpb.Status {
	t.Helper()
	var seen []string
	for timeout := time.After(waiting); ; {
		select {
		case s := <-b.states:
			if fromProto(s.GetId()) != id {
				continue
			}
			seen = append(seen, fmt.Sprintf("%s %q", s.GetState(), s.GetReason()))
			if ok(s) {
				return s
			}
		case <-timeout:
			all, err := b.List()
			t.Fatalf("state did not come; there were %s, and now there is %v, %v", strings.Join(seen, ", "), all, err)
		}
	}
}

// get asks the test program.
func get(t *testing.T, s *schedulerpb.Status, path string, query url.Values) string {
	t.Helper()
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	rsp, err := c.Get("http://" + s.GetInstances()[0].GetAddress() + path + "?" + query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

var programImage = struct {
	sync.Mutex
	id string
}{}

// program makes the image of testdata/program.
func program(t *testing.T) string {
	t.Helper()
	programImage.Lock()
	defer programImage.Unlock()
	if programImage.id != "" {
		return programImage.id
	}
	name := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-o", name, "./testdata/program")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	w.WriteHeader(&tar.Header{Name: "program", Mode: 0o755, Size: int64(len(b))})
	w.Write(b)
	w.Close()
	engine, err := dockerhost.New()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	rsp, err := engine.ImageImport(context.Background(), image.ImportSource{Source: &archive, SourceName: "-"}, "",
		image.ImportOptions{Changes: []string{`ENTRYPOINT ["/program"]`, "LABEL micro.test=scheduler"}})
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Close()
	var answer struct{ Status string }
	if err := json.NewDecoder(rsp).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	programImage.id = answer.Status
	return answer.Status
}

func removeProgram() {
	engine, err := dockerhost.New()
	if err != nil || programImage.id == "" {
		return
	}
	defer engine.Close()
	ctx := context.Background()
	engine.ImageRemove(ctx, programImage.id, image.RemoveOptions{Force: true})
	found, err := engine.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "micro.test=scheduler"))})
	if err == nil && len(found) > 0 {
		fmt.Println("images are left over:", len(found))
	}
}
