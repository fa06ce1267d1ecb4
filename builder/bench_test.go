package builder

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/micro/platform/builder/baseimage"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/modproxy"
	"github.com/micro/platform/internal/scaffold"
	builderpb "github.com/micro/platform/proto/builder"
)

// BenchmarkBuild measures a new service from upload to image: the first build
// of a namespace, and one after a handler has changed.
func BenchmarkBuild(b *testing.B) {
	if err := MakeImage(b.Context(), io.Discard); err != nil {
		b.Fatal(err)
	}
	docker, err := dockerhost.New()
	if err != nil {
		b.Fatal(err)
	}
	defer docker.Close()
	framework, err := modproxy.New()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	names, err := scaffold.New(b.Context(), framework, dir, "hello")
	if err != nil {
		b.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, "hello", name))
		if err != nil {
			b.Fatal(err)
		}
		files[name] = string(text)
	}
	var cold, warm time.Duration
	for b.Loop() {
		s := setupDocker(b, docker, func(o *Options) { o.Image, o.Download = baseimage.Name, 1<<30 })
		if err := s.workers.start(b.Context()); err != nil {
			b.Fatal(err)
		}
		cold += s.timed(b, 1, files)
		files["handler/extra.go"] = "package handler\n\nvar Extra = `" + time.Now().String() + "`\n"
		warm += s.timed(b, 2, files)
		delete(files, "handler/extra.go")
	}
	b.ReportMetric(cold.Seconds()/float64(b.N), "s/first")
	b.ReportMetric(warm.Seconds()/float64(b.N), "s/changed")
}

func (b *bundle) timed(t testing.TB, revision int64, files map[string]string) time.Duration {
	t.Helper()
	b.upload(t, "up", files)
	started := time.Now()
	id := id("alpha", revision)
	if _, err := b.Build(component(t), &builderpb.BuildRequest{Id: id, Upload: "up"}); err != nil {
		t.Fatal(err)
	}
	if s := b.await(t, id); s.GetPhase() != builderpb.State_SUCCEEDED {
		t.Fatalf("state %v, log:\n%s", s, b.said(t, id))
	}
	return time.Since(started)
}
