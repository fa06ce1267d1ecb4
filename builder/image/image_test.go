package image

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/micro/platform/builder/buildertest"
	"github.com/micro/platform/builder/detect"
	"github.com/micro/platform/framework/errors"
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
		busybox grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status
		for f in /x /src/x /run/micro/x /usr/local/go/x; do busybox touch $f && echo wrote $f; done
		busybox ls /sys/class/net
		busybox echo > /tmp/program`}
	created, err := b.engine.ContainerCreate(t.Context(), config, host, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer b.engine.ContainerRemove(context.Background(), created.ID, container.RemoveOptions{Force: true}) //nolint:errcheck // a test's
	var said bytes.Buffer
	if err := b.run(t.Context(), created.ID, program, &said); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"65532\n", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "\nlo\n"} {
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
