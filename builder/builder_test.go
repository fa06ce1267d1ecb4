package builder

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"github.com/jackc/pgx/v5/pgxpool"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/builder/buildertest"
	"github.com/micro/platform/builder/image"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/modproxy"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/tenants"
	builderpb "github.com/micro/platform/proto/builder"
)

// bundle is a builder with everything real.
type bundle struct {
	*Service
	workers *workers
	pool    *pgxpool.Pool
	bucket  *blob.Bucket
	docker  *client.Client
	cluster string
}

func setup(t *testing.T, change ...func(*Options)) *bundle {
	t.Helper()
	return setupDocker(t, buildertest.Docker(t), change...)
}

func setupDocker(t testing.TB, docker *client.Client, change ...func(*Options)) *bundle {
	t.Helper()
	o := options()
	for _, c := range change {
		c(&o)
	}
	b := &bundle{pool: pgtest.New(t, "builder"), bucket: memblob.OpenBucket(nil), docker: docker, cluster: fmt.Sprintf("test%x", time.Now().UnixNano())}
	var err error
	if b.Service, err = service(b.pool, docker, b.cluster, o); err != nil {
		t.Fatal(err)
	}
	dir, release, err := workDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	reach(t, dir)
	if b.workers, err = newWorkers(b.Service, b.bucket, dir, slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		b.workers.stop(ctx)
		release()
		b.bucket.Close()
		for _, ns := range []string{"alpha", "beta"} {
			if err := b.images.Forget(ctx, image.ID{Namespace: ns}); err != nil && !client.IsErrConnectionFailed(err) {
				t.Error(err)
			}
		}
	})
	return b
}

func options() Options {
	return Options{Image: buildertest.Image, Concurrency: 2, Queue: 20, CPUs: 2, Memory: 2 << 30, Pids: 512,
		Timeout: time.Minute, Cache: 1 << 30, Download: 1 << 20}
}

func service(pool *pgxpool.Pool, docker *client.Client, cluster string, o Options) (*Service, error) {
	box, err := seal.New(seal.Cluster{Secret: pgtest.Secret}, "builder")
	if err != nil {
		return nil, err
	}
	images := image.New(docker, http.NotFoundHandler(), image.Options{Base: o.Image, GVisor: o.GVisor, Cluster: cluster, CPUs: o.CPUs, Memory: o.Memory,
		Pids: o.Pids, Timeout: o.Timeout, Cache: o.Cache, Download: o.Download})
	framework, err := modproxy.New()
	if err != nil {
		return nil, err
	}
	s := New(pool, box, images, framework, o)
	s.tenants = tenants.Fixed(plans.FromMap(nil))
	return s, nil
}

// reach lets other users through to a test's directory.
func reach(t testing.TB, dir string) {
	t.Helper()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = d[:strings.LastIndex(d, "/")] {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func component(t testing.TB) context.Context {
	return identity.With(t.Context(), identity.Caller{ID: "runtime", Type: identity.Component, Namespace: identity.Platform})
}

func (b *bundle) upload(t testing.TB, key string, files map[string]string) {
	t.Helper()
	if err := b.bucket.WriteAll(t.Context(), key, buildertest.Tar(t, files), nil); err != nil {
		t.Fatal(err)
	}
}

// await answers the state of a build when it has ended.
func (b *bundle) await(t testing.TB, id *builderpb.ID) *builderpb.State {
	t.Helper()
	ctx, cancel := context.WithTimeout(component(t), time.Minute)
	defer cancel()
	s := &recorder[builderpb.State]{ctx: ctx}
	if err := b.Watch(&builderpb.WatchRequest{Id: id}, s); err != nil {
		t.Fatal(err)
	}
	return s.got[len(s.got)-1]
}

func (b *bundle) said(t testing.TB, id *builderpb.ID) string {
	t.Helper()
	s := &recorder[builderpb.LogChunk]{ctx: component(t)}
	if err := b.Logs(&builderpb.LogsRequest{Id: id, Follow: true}, s); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, c := range s.got {
		text.Write(c.GetData())
	}
	return text.String()
}

// recorder keeps what a stream sends.
type recorder[T any] struct {
	grpc.ServerStream
	ctx  context.Context
	each func(*T) // may be nil
	got  []*T
}

func (r *recorder[T]) Context() context.Context { return r.ctx }
func (r *recorder[T]) Send(m *T) error {
	if r.each != nil {
		r.each(m)
	}
	r.got = append(r.got, m)
	return nil
}

func id(namespace string, revision int64) *builderpb.ID {
	return &builderpb.ID{Namespace: namespace, Service: "hello", Version: "latest", Revision: revision}
}

var hello = map[string]string{
	"go.mod":  "module hello\n\ngo 1.24\n",
	"main.go": "package main\n\nfunc main() { println(\"hello\") }\n",
}

func having(files map[string]string, name, text string) map[string]string {
	out := map[string]string{name: text}
	for k, v := range files {
		if k != name {
			out[k] = v
		}
	}
	return out
}

func TestUploadBecomesImage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.upload(t, "up", hello)
	req := &builderpb.BuildRequest{Id: id("alpha", 1), Source: "source://hello:latest", Upload: "up"}
	for range 2 { // the same ID is the same build
		if _, err := b.Build(component(t), req); err != nil {
			t.Fatal(err)
		}
	}
	log := b.said(t, req.GetId())
	s := b.await(t, req.GetId())
	if s.GetPhase() != builderpb.State_SUCCEEDED || !strings.HasPrefix(s.GetImage(), "sha256:") {
		t.Fatalf("state %v, log:\n%s", s, log)
	}
	if !strings.Contains(log, "compiling\n") || !strings.Contains(log, "image sha256:") {
		t.Errorf("log:\n%s", log)
	}
	info, err := b.docker.ImageInspect(t.Context(), s.GetImage())
	if err != nil {
		t.Fatal(err)
	}
	if info.Config.User != "65532:65532" || info.Config.Entrypoint[0] != "/program" || info.Config.Labels["micro.namespace"] != "alpha" {
		t.Errorf("image config: %+v", info.Config)
	}
	if _, err := b.Forget(component(t), &builderpb.ForgetRequest{Id: &builderpb.ID{Namespace: "alpha", Service: "hello"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.docker.ImageInspect(t.Context(), s.GetImage()); err == nil {
		t.Error("the image is still there")
	}
	if _, err := b.state(t, req.GetId()); errors.Code(err) != codes.NotFound {
		t.Errorf("the build is still there: %v", err)
	}
}

func (b *bundle) state(t *testing.T, id *builderpb.ID) (state, error) {
	return b.db.state(t.Context(), fromProto(id))
}

func TestReasons(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		name, entrypoint, reason string
		files                    map[string]string
	}{
		{"compile error", "", "./main.go:3:15: undefined: x", having(hello, "main.go", "package main\n\nfunc main() { x() }\n")},
		{"no main", "", "no Go main package in the root of the source", map[string]string{"go.mod": "module x\n", "README.md": ""}},
		{"library", "", `the package there is "x"`, having(hello, "main.go", "package x\n")},
		{"no module", "", "no go.mod", map[string]string{"main.go": hello["main.go"]}},
		{"newer Go", "", "asks for Go 1.99", having(hello, "go.mod", "module hello\n\ngo 1.99\n")},
		{"escape", "", "leads out of the source", having(hello, "../x", "")},
		{"no folder", "cmd/x", `folder "cmd/x" not found`, hello},
		{"a module that is not there", "", "example.com/none", map[string]string{
			"go.mod":  "module hello\n\ngo 1.24\n\nrequire example.com/none v1.0.0\n",
			"go.sum":  "example.com/none v1.0.0 h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nexample.com/none v1.0.0/go.mod h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
			"main.go": "package main\n\nimport _ \"example.com/none\"\n\nfunc main() {}\n"}},
		{"cgo", "", "", having(hello, "main.go", "package main\n\nimport \"C\"\n\nfunc main() {}\n")},
		{"network of the machine", "", "replace example.com/x => /etc leads out", having(hello, "go.mod", "module hello\n\ngo 1.24\n\nreplace example.com/x => /etc\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.upload(t, tt.name, tt.files)
			id := id("alpha", int64(i+1))
			if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: id, Upload: tt.name, Entrypoint: tt.entrypoint}); err != nil {
				t.Fatal(err)
			}
			s := b.await(t, id)
			if s.GetPhase() != builderpb.State_FAILED || !strings.Contains(s.GetReason(), tt.reason) || s.GetReason() == "" {
				t.Errorf("state %v, log:\n%s", s, b.said(t, id))
			}
			if strings.Contains(s.GetReason(), "/src/") || len(s.GetReason()) > 4<<10 {
				t.Errorf("reason %q", s.GetReason())
			}
		})
	}
}

// TestAbandonedBuildIsTakenOver shows that a build is taken over from a worker
// that died while it ran, and from one that had taken its job and no more.
func TestAbandonedBuildIsTakenOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upload(t, "up", hello)
	for _, x := range []*builderpb.ID{id("alpha", 1), id("alpha", 2), id("beta", 1)} {
		if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: x, Source: "source://hello:latest", Upload: "up"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.db.claim(t.Context(), fromProto(id("alpha", 1)), 1); err != nil {
		t.Fatal(err)
	}
	const (
		silent  = "UPDATE builder.builds SET heartbeat_at = now() - interval '11 seconds' WHERE phase = 1"
		taken   = "UPDATE builder.river_job SET state = 'running', attempted_at = now() - interval '11 seconds' WHERE args->>'Namespace' = 'alpha'"
		waiting = "SELECT count(*) FROM builder.river_job WHERE state = 'available'"
	)
	for _, q := range []string{silent, taken} {
		if _, err := b.pool.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time there is nothing to do
		if err := b.workers.recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		var jobs int
		if err := b.pool.QueryRow(t.Context(), waiting).Scan(&jobs); err != nil || jobs != 3 {
			t.Errorf("%d jobs wait, %v; want 3", jobs, err)
		}
	}
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*builderpb.ID{id("alpha", 1), id("alpha", 2), id("beta", 1)} {
		if s := b.await(t, x); s.GetPhase() != builderpb.State_SUCCEEDED {
			t.Errorf("state %v", s)
		}
	}
}

// TestBuildsAtOnce shows that a namespace has as many builds at once as its plan
// says, each with a cache of its own, and no second one while another namespace
// waits for its first.
func TestBuildsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, x := range []*builderpb.ID{id("alpha", 1), id("alpha", 2), id("alpha", 3), id("beta", 1)} {
		if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: x, Source: "source://hello:latest", Upload: "up"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		id     *builderpb.ID
		atOnce plans.Limit
		slot   int
		busy   bool
	}{
		{id("alpha", 1), 2, 0, false},
		{id("alpha", 2), 2, 0, true}, // beta waits
		{id("beta", 1), 1, 0, false},
		{id("alpha", 2), 1, 0, true},
		{id("alpha", 2), 2, 1, false},
		{id("alpha", 3), 2, 0, true},
		{id("alpha", 3), plans.Unlimited, 2, false},
	} {
		got, err := b.db.claim(t.Context(), fromProto(step.id), step.atOnce)
		if busy := errors.Is(err, errBusy); busy != step.busy || got.Slot != step.slot || err != nil && !busy {
			t.Errorf("claim(%v, %d at once) = slot %d, %v; want slot %d, busy %v", step.id, step.atOnce, got.Slot, err, step.slot, step.busy)
		}
	}
}

// TestMinutes shows that builds are refused when the month's minutes are used,
// those of builds that were forgotten included, and that what is queued stays.
func TestMinutes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Service.tenants = tenants.Fixed(plans.FromMap(map[string]int64{"build_minutes": 100}))
	build := func(namespace string, revision int64) error {
		_, err := b.Build(component(t), &builderpb.BuildRequest{Id: id(namespace, revision), Upload: "up"})
		return err
	}
	if err := build("alpha", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := b.db.claim(t.Context(), fromProto(id("alpha", 1)), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := b.pool.Exec(t.Context(), "UPDATE builder.builds SET started_at = now() - interval '101 minutes'"); err != nil {
		t.Fatal(err)
	}
	refused := func(when string) {
		t.Helper()
		if err := build("alpha", 2); errors.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), `100 minutes of building are used this month, which is the limit "build_minutes"`) {
			t.Errorf("%s: %v, want FailedPrecondition and the limit", when, err)
		}
	}
	refused("while it runs")
	if err := b.db.cancel(t.Context(), fromProto(id("alpha", 1))); err != nil {
		t.Fatal(err)
	}
	if err := b.db.forget(t.Context(), fromProto(id("alpha", 1))); err != nil {
		t.Fatal(err)
	}
	refused("when it is forgotten")
	if err := build("beta", 1); err != nil {
		t.Errorf("another namespace: %v", err)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	asked, gone := make(chan struct{}, 1), make(chan struct{}, 1)
	host := gitHost(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	}))
	b := setup(t, func(o *Options) { o.GitHosts = []string{host} })
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: id("alpha", 1), Source: "http://" + host + "/org/repo"}); err != nil {
		t.Fatal(err)
	}
	<-asked
	if _, err := b.Cancel(component(t), &builderpb.CancelRequest{Id: id("alpha", 1)}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("git is still at work")
	}
	if s := b.await(t, id("alpha", 1)); s.GetPhase() != builderpb.State_CANCELED {
		t.Errorf("state %v", s)
	}
}

// TestCancelWhileCompiling: a build that is canceled ends in the middle of the
// compiler's work.
func TestCancelWhileCompiling(t *testing.T) {
	t.Parallel()
	var long strings.Builder // it takes a compiler some ten seconds
	long.WriteString(hello["main.go"])
	for i := range 100_000 {
		fmt.Fprintf(&long, "func f%d(a, b int) int {\n\tif a > b {\n\t\treturn a * %d\n\t}\n\treturn b - a\n}\n", i, i)
	}
	b := setup(t)
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.upload(t, "up", having(hello, "main.go", long.String()))
	if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: id("alpha", 1), Upload: "up"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(component(t), time.Minute)
	defer cancel()
	s := &recorder[builderpb.State]{ctx: ctx, each: func(x *builderpb.State) {
		if x.GetStep() == "compiling" {
			b.Cancel(ctx, &builderpb.CancelRequest{Id: id("alpha", 1)}) //nolint:errcheck // then it goes on
		}
	}}
	if err := b.Watch(&builderpb.WatchRequest{Id: id("alpha", 1)}, s); err != nil {
		t.Fatal(err)
	}
	if last := s.got[len(s.got)-1]; last.GetPhase() != builderpb.State_CANCELED {
		t.Errorf("states %v", s.got)
	}
	// A container that was being made at that moment is left to the sweep.
	if running := b.containers(t, 0, false); len(running) > 0 {
		t.Errorf("containers %v still run", running)
	}
}

func gitHost(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go s.Serve(l) //nolint:errcheck // ends with the test
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

func TestDockerAway(t *testing.T) {
	t.Parallel()
	docker, err := client.NewClientWithOpts(client.WithHost("unix:///nonexistent/docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	b := setupDocker(t, docker)
	b.upload(t, "up", hello)
	if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: id("alpha", 1), Upload: "up"}); err != nil {
		t.Fatal(err)
	}
	// All attempts but two have gone the same way.
	if _, err := b.pool.Exec(t.Context(), "UPDATE builder.builds SET attempt = $1", maxAttempts-2); err != nil {
		t.Fatal(err)
	}
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := b.await(t, id("alpha", 1))
	if s.GetPhase() != builderpb.State_FAILED || !strings.Contains(s.GetReason(), "Docker is not reachable") {
		t.Errorf("state %v", s)
	}
}

// Docker that goes away in the middle costs an attempt, not the build.
func TestDockerInterrupted(t *testing.T) {
	t.Parallel()
	whole := buildertest.Docker(t)
	var cut atomic.Bool
	docker, err := client.NewClientWithOpts(client.WithHost(whole.DaemonHost()), client.WithAPIVersionNegotiation(),
		client.WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(whole.DaemonHost(), "unix://"))
			if err != nil {
				return nil, err
			}
			return &cuttable{Conn: c, cut: &cut}, nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	b := setupDocker(t, docker)
	b.upload(t, "up", hello)
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: id("alpha", 1), Upload: "up"}); err != nil {
		t.Fatal(err)
	}
	if s := b.await(t, id("alpha", 1)); s.GetPhase() != builderpb.State_SUCCEEDED {
		t.Errorf("state %v", s)
	}
	var attempts int
	if err := b.pool.QueryRow(t.Context(), "SELECT attempt FROM builder.builds").Scan(&attempts); err != nil || attempts != 2 || !cut.Load() {
		t.Errorf("%d attempts, cut %v, %v", attempts, cut.Load(), err)
	}
}

// cuttable is a connection to Docker that ends at the first container's start.
type cuttable struct {
	net.Conn
	cut *atomic.Bool
}

func (c *cuttable) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("/start HTTP")) && c.cut.CompareAndSwap(false, true) {
		c.Close()
	}
	return c.Conn.Write(p)
}

func TestRequests(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.Queue = 1 })
	ok := &builderpb.BuildRequest{Id: id("beta", 1), Upload: "up"}
	for _, tt := range []struct {
		name string
		ctx  context.Context
		req  *builderpb.BuildRequest
		want codes.Code
	}{
		{"anonymous", t.Context(), ok, codes.Unauthenticated},
		{"a person", identity.With(t.Context(), identity.Caller{Type: identity.User, Namespace: "beta"}), ok, codes.PermissionDenied},
		{"no id", component(t), &builderpb.BuildRequest{Upload: "up"}, codes.InvalidArgument},
		{"no source", component(t), &builderpb.BuildRequest{Id: id("beta", 1)}, codes.InvalidArgument},
		{"file url", component(t), &builderpb.BuildRequest{Id: id("beta", 1), Source: "file:///etc"}, codes.InvalidArgument},
		{"option as ref", component(t), &builderpb.BuildRequest{Id: id("beta", 1), Source: "github.com/a/b", Ref: "--upload-pack=x"}, codes.InvalidArgument},
		{"good", component(t), ok, codes.OK},
		{"again", component(t), ok, codes.OK},
		{"queue full", component(t), &builderpb.BuildRequest{Id: id("beta", 2), Upload: "up"}, codes.ResourceExhausted},
		{"queue of another", component(t), &builderpb.BuildRequest{Id: id("alpha", 1), Upload: "up"}, codes.OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := b.Build(tt.ctx, tt.req); errors.Code(err) != tt.want {
				t.Errorf("Build: %v, want %v", err, tt.want)
			}
		})
	}
}

// TestImageGone: the same build again is another one only when its image is gone.
func TestImageGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.upload(t, "up", hello)
	req := &builderpb.BuildRequest{Id: id("alpha", 1), Source: "source://hello:latest", Upload: "up"}
	build := func() *builderpb.State {
		t.Helper()
		if _, err := b.Build(component(t), req); err != nil {
			t.Fatal(err)
		}
		return b.await(t, req.GetId())
	}
	there := func(image string) bool {
		t.Helper()
		has, err := b.images.Has(t.Context(), image)
		if err != nil {
			t.Fatal(err)
		}
		return has
	}
	first := build()
	if first.GetPhase() != builderpb.State_SUCCEEDED || !there(first.GetImage()) {
		t.Fatalf("%v", first)
	}
	lose := func() {
		t.Helper()
		if err := b.images.Forget(t.Context(), image.ID{Namespace: "alpha", Service: "hello"}); err != nil {
			t.Fatal(err)
		}
		if there(first.GetImage()) {
			t.Fatal("the image is not gone")
		}
	}
	log := b.said(t, req.GetId())
	if again := build(); again.GetImage() != first.GetImage() || b.said(t, req.GetId()) != log {
		t.Errorf("the image was there, and now it is %v, log:\n%s", again, b.said(t, req.GetId()))
	}
	lose()
	if again := build(); again.GetPhase() != builderpb.State_SUCCEEDED || !there(again.GetImage()) {
		t.Errorf("after its image was gone: %v", again)
	}
	lose()
	if err := b.bucket.Delete(t.Context(), "up"); err != nil {
		t.Fatal(err)
	}
	if again := build(); again.GetPhase() != builderpb.State_FAILED || again.GetReason() == "" {
		t.Errorf("after its source was gone, too: %v", again)
	}
	b.upload(t, "up", hello)
	if again := build(); again.GetPhase() != builderpb.State_SUCCEEDED || !there(again.GetImage()) {
		t.Errorf("after its source was back: %v", again)
	}
}
