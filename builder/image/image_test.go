package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/google/go-containerregistry/pkg/name"
	"gocloud.dev/blob/memblob"

	"github.com/micro/platform/builder/buildertest"
	"github.com/micro/platform/builder/detect"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/services/images"
	"github.com/micro/platform/services/images/imagestest"
	"github.com/micro/platform/services/images/mirror"
)

func setup(t *testing.T) (*Builder, ID) {
	t.Helper()
	docker := buildertest.Docker(t)
	b := New(docker, http.NotFoundHandler(), Options{Base: buildertest.Image, Cluster: fmt.Sprintf("test%x", time.Now().UnixNano()),
		CPUs: 2, Memory: 1 << 30, Pids: 256, Timeout: time.Minute, Cache: 1 << 30, Download: 1 << 20})
	id := ID{Namespace: "alpha", Service: "hello", Version: "latest", Revision: 1}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.Forget(ctx, ID{Namespace: id.Namespace}); err != nil {
			t.Error(err)
		}
	})
	return b, id
}

// source writes a program that prints, and answers the folder and where the
// compiled program goes.
func source(t *testing.T) (tree, program string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module a\n", "main.go": "package main\n\nfunc main() { println(\"hi\") }\n"} {
		if err := os.MkdirAll(filepath.Join(dir, "source"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "source", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "source"), filepath.Join(dir, "program")
}

var here = detect.Plan{Module: ".", Package: "."}

// A build container is looked at from inside, by the template of all builds.
func TestContainerIsLockedDown(t *testing.T) {
	t.Parallel()
	b, id := setup(t)
	tree, program := source(t)
	sockets := filepath.Join(filepath.Dir(program), "run")
	stop, err := b.serveModules(sockets)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	base, err := b.base(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config, host := b.container(Work{ID: id, Source: tree, Plan: here}, base, sockets)
	config.Cmd = []string{"/bin/busybox", "sh", "-c", `
		busybox id -u
		busybox cat /proc/self/oom_score_adj
		busybox grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status
		for f in /x /src/x /run/micro/x /usr/local/go/x; do busybox touch $f && echo wrote $f; done
		busybox ls /sys/class/net
		busybox echo > /tmp/program`}
	created, err := b.engine.ContainerCreate(t.Context(), config, host, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	info, err := b.engine.ContainerInspect(t.Context(), created.ID)
	if err != nil {
		t.Fatal(err)
	}
	// Services have 1024 shares, and their memory is taken last.
	if h := info.HostConfig; h.CPUShares != 128 || h.NanoCPUs <= 0 || h.NanoCPUs > int64(runtime.NumCPU())*9e8 || h.Memory != 1<<30 || h.OomScoreAdj != 500 {
		t.Errorf("it may starve its host: %d shares, %d of 1e9 processors, %d bytes, %d to be ended", h.CPUShares, h.NanoCPUs, h.Memory, h.OomScoreAdj)
	}
	defer b.engine.ContainerRemove(context.Background(), created.ID, container.RemoveOptions{Force: true}) //nolint:errcheck // a test's
	var said bytes.Buffer
	if err := b.run(t.Context(), created.ID, program, &said); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"65532\n500\n", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "\nlo\n"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("no %q in:\n%s", want, said.String())
		}
	}
	for _, bad := range []string{"wrote ", "eth0"} {
		if strings.Contains(said.String(), bad) {
			t.Errorf("%q in:\n%s", bad, said.String())
		}
	}
}

func TestProgramRuns(t *testing.T) {
	t.Parallel()
	b, id := setup(t)
	tree, program := source(t)
	var log bytes.Buffer
	if err := b.Compile(t.Context(), Work{ID: id, Source: tree, Program: program, Plan: here}, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	image, err := b.Assemble(t.Context(), id, program)
	if err != nil {
		t.Fatal(err)
	}
	created, err := b.engine.ContainerCreate(t.Context(), &container.Config{Image: image, AttachStdout: true, AttachStderr: true},
		&container.HostConfig{NetworkMode: "none"}, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer b.engine.ContainerRemove(context.Background(), created.ID, container.RemoveOptions{Force: true}) //nolint:errcheck // a test's
	var said bytes.Buffer
	if err := b.run(t.Context(), created.ID, filepath.Join(t.TempDir(), "out"), &said); err != nil || said.String() != "hi\n" {
		t.Errorf("the service said %q, %v", said.String(), err)
	}
}

// TestCacheIsWhole shows that a cache which a builder that was killed has left,
// filled in part, is not built with, and that one that is whole stays.
func TestCacheIsWhole(t *testing.T) {
	t.Parallel()
	b, id := setup(t)
	base, err := b.base(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config, host := b.container(Work{ID: id, Source: t.TempDir(), Plan: here}, base, t.TempDir())
	has := func(name, file string) bool {
		t.Helper()
		_, err := b.engine.ContainerStatPath(t.Context(), name, "/cache/"+file)
		if err != nil && !isGone(err) {
			t.Fatal(err)
		}
		return err == nil
	}
	half, err := b.engine.ContainerCreate(t.Context(), config, host, nil, nil, "") // nobody says that it is whole
	if err != nil {
		t.Fatal(err)
	}
	if err := b.mark(t.Context(), half.ID, "half"); err != nil {
		t.Fatal(err)
	}
	b.remove(t.Context(), half.ID)
	var name string
	for i := range 3 {
		if name, err = b.create(t.Context(), config, host); err != nil {
			t.Fatal(err)
		}
		if has(name, "half") || !has(name, "go") || has(name, "first") != (i > 0) {
			t.Errorf("build %d: half of the old cache %v, filled %v, that of the first build %v", i+1, has(name, "half"), has(name, "go"), has(name, "first"))
		}
		if err := b.mark(t.Context(), name, "first"); err != nil {
			t.Fatal(err)
		}
		b.remove(t.Context(), name)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	b, id := setup(t)
	b.opts.Timeout = time.Millisecond
	tree, program := source(t)
	if err := b.Compile(t.Context(), Work{ID: id, Source: tree, Program: program, Plan: here}, &bytes.Buffer{}); errors.FromError(err).HTTP != 422 && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Compile: %v", err)
	}
}

func TestNoBaseImage(t *testing.T) {
	t.Parallel()
	b, id := setup(t)
	b.opts.Base = "micro/none:none"
	tree, program := source(t)
	if err := b.Compile(t.Context(), Work{ID: id, Source: tree, Program: program, Plan: here}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "micro builder-image") {
		t.Errorf("Compile: %v", err)
	}
}

func TestCheckProgram(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty": "", "script": "#!/bin/sh\n", "cut": "\x7fELF\x02\x01\x01"} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := checkProgram(file); err == nil {
			t.Errorf("%s is a program", name)
		}
	}
	if err := checkProgram("/bin/sh"); err == nil || !strings.Contains(err.Error(), "static") {
		t.Errorf("/bin/sh: %v", err)
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	got := compilerReason("go: downloading x v1\n# a\n/src/main.go:1:1: bad\n")
	if got != "# a\nmain.go:1:1: bad" {
		t.Errorf("compilerReason = %q", got)
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "line %d %s\n", i, strings.Repeat("é", 50))
	}
	got = compilerReason(many.String())
	if len(got) > reasonBytes || strings.Count(got, "\n") >= reasonLines || !strings.Contains(got, "line 999 ") {
		t.Errorf("%d bytes, %d lines", len(got), strings.Count(got, "\n"))
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	a := reference(ID{"Alpha_", "My.Service", "v1", 3}, "c")
	if !strings.HasPrefix(a, "micro/alpha/my-service:3-") {
		t.Errorf("reference = %q", a)
	}
	if b := reference(ID{"alpha", "my-service", "v1", 3}, "c"); a == b {
		t.Errorf("two builds are both %q", a)
	}
}

// TestPush pushes two builds of one program, of which the second moves no layer,
// and one of another, of which nothing but that moves, and forgets them one by one.
func TestPush(t *testing.T) {
	t.Parallel()
	registry, moved := pushed(t)
	b := New(buildertest.Docker(t), http.NotFoundHandler(), Options{Cluster: "test", Registry: registry})
	id := ID{Namespace: "alpha", Service: "hello", Version: "latest", Revision: 1}
	program := fakeProgram(t)
	first, err := b.Assemble(t.Context(), id, program)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first, "alpha/hello@sha256:") {
		t.Errorf("the image is %q", first)
	}
	before := moved.Load()
	next := id
	next.Revision++
	second, err := b.Assemble(t.Context(), next, program)
	if err != nil || second == first {
		t.Fatalf("the second build: %q, %v", second, err)
	}
	if n := moved.Load() - before; n > 8<<10 {
		t.Errorf("%d bytes were pushed for the same program, after %d", n, before)
	}
	before = moved.Load()
	other := ID{Namespace: "alpha", Service: "hello", Version: "changed", Revision: 1}
	if _, err := b.Assemble(t.Context(), other, fakeProgram(t)); err != nil {
		t.Fatal(err)
	}
	if n := moved.Load() - before; n > fakeSize+16<<10 {
		t.Errorf("%d bytes were pushed for another program of %d", n, fakeSize)
	}
	again, err := b.Assemble(t.Context(), next, program)
	if err != nil || again != second {
		t.Errorf("the second build again: %q, %v; want %q", again, err, second)
	}
	for _, step := range []struct {
		forget        ID
		first, second bool
	}{
		{ID{Namespace: "alpha", Service: "hello", Version: "other"}, true, true},
		{ID{Namespace: "alpha", Service: "other"}, true, true},
		{id, false, true},
		{ID{Namespace: "beta"}, false, true},
		{ID{Namespace: "alpha"}, false, false},
	} {
		if err := b.Forget(t.Context(), step.forget); err != nil {
			t.Fatal(err)
		}
		for image, want := range map[string]bool{first: step.first, second: step.second} {
			if got, err := b.Has(t.Context(), image); err != nil || got != want {
				t.Errorf("%+v is forgotten: the registry has %s: %t, %v; want %t", step.forget, image, got, err, want)
			}
		}
	}
}

// TestDockerPulls pushes a program, and the same with another revision, and has
// Docker pull both through the mirror of a host: the second time it gets no layer.
// Of another program it gets that, and not once more what is below it.
func TestDockerPulls(t *testing.T) {
	t.Parallel()
	docker := buildertest.Docker(t)
	registry, stored := pushed(t)
	var moved atomic.Int64
	through := mirror.New(registry.way, slog.New(slog.DiscardHandler))
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through.ServeHTTP(writeCounter{w, &moved}, r)
	}))
	t.Cleanup(host.Close)
	b := New(docker, http.NotFoundHandler(), Options{Cluster: fmt.Sprintf("test%x", time.Now().UnixNano()), Registry: registry})
	id := ID{Namespace: "alpha", Service: "hello", Version: "latest"}
	program := fakeProgram(t)
	for _, x := range []struct {
		program string
		most    int64
	}{{program, 4 << 20}, {program, 8 << 10}, {fakeProgram(t), fakeSize + 16<<10}} {
		id.Revision++
		name, err := b.Assemble(t.Context(), id, x.program)
		if err != nil {
			t.Fatal(err)
		}
		ref, before := host.Listener.Addr().String()+"/"+name, moved.Load()
		rsp, err := docker.ImagePull(t.Context(), ref, dockerimage.PullOptions{})
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(rsp)
		rsp.Close()
		t.Cleanup(func() {
			docker.ImageRemove(context.Background(), ref, dockerimage.RemoveOptions{Force: true}) //nolint:errcheck // a test's
		})
		info, inspected := docker.ImageInspect(t.Context(), ref)
		if err != nil || inspected != nil || info.Config.Labels[labelRevision] != fmt.Sprint(id.Revision) {
			t.Fatalf("%s is not there: %v, %v\n%s", ref, err, inspected, said)
		}
		n := moved.Load() - before
		t.Logf("revision %d: Docker got %d bytes", id.Revision, n)
		if n > x.most {
			t.Errorf("revision %d: Docker got %d bytes, want %d at most", id.Revision, n, x.most)
		}
		// Docker may have what is below the program, from another test.
		if whole := stored.Load(); id.Revision == 1 && whole < fakeSize+64<<10 {
			t.Errorf("the first revision is %d bytes, of which next to nothing is below the program: this shows nothing", whole)
		}
	}
}

// writeCounter counts the bytes of an answer.
type writeCounter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (w writeCounter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.n.Add(int64(n))
	return n, err
}

// fakeSize is that of a small service, in bytes.
const fakeSize = 1 << 20

// fakeProgram makes a file that cannot be compressed.
func fakeProgram(t *testing.T) string {
	t.Helper()
	content := make([]byte, fakeSize)
	rand.Read(content)
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return program
}

// pushed is a registry, and how many bytes of bodies it was sent.
func pushed(t *testing.T) (*Registry, *atomic.Int64) {
	t.Helper()
	bucket := images.Store{Bucket: memblob.OpenBucket(nil)}
	t.Cleanup(func() { bucket.Bucket.Close() })
	svc := images.New(t.Context(), pgtest.New(t, "images"), bucket, []byte(pgtest.Secret), images.Options{Sweep: time.Hour, Age: time.Hour})
	var moved atomic.Int64
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = counter{r.Body, &moved}
		svc.ServeHTTP(w, r)
	})
	return NewRegistry(imagestest.Host, imagestest.Serve(t, counted, "builder")["builder"]), &moved
}

type counter struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func TestFolder(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, s := range []string{"a", "hello", "my-service", "my--service", "-a", "a-", "a.b", "a_b", "A", "x__a", "x--a", "latest", strings.Repeat("a", 100), strings.Repeat("a", 101)} {
		f := folder(s)
		if other, ok := seen[f]; ok {
			t.Errorf("%q and %q are both %q", s, other, f)
		}
		seen[f] = s
		if _, err := name.NewRepository("example.com/"+f+"/"+f, name.StrictValidation); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	if got := folder("my-service"); got != "my-service" {
		t.Errorf("folder = %q", got)
	}
}

// BenchmarkAssemble makes images of a program of 16 MiB in Docker.
func BenchmarkAssemble(b *testing.B) {
	docker := buildertest.Docker(b)
	images := New(docker, http.NotFoundHandler(), Options{Base: buildertest.Image, Cluster: fmt.Sprintf("test%x", time.Now().UnixNano())})
	id := ID{Namespace: "alpha", Service: "hello", Version: "latest"}
	b.Cleanup(func() {
		if err := images.Forget(context.Background(), ID{Namespace: "alpha"}); err != nil {
			b.Error(err)
		}
	})
	content := make([]byte, 16<<20)
	program := filepath.Join(b.TempDir(), "program")
	for b.Loop() {
		rand.Read(content)
		if err := os.WriteFile(program, content, 0o600); err != nil {
			b.Fatal(err)
		}
		id.Revision++
		if _, err := images.Assemble(b.Context(), id, program); err != nil {
			b.Fatal(err)
		}
	}
}
