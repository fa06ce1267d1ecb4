// Package buildertest is what tests of builds share: a real Docker, and an
// image to compile in.
package buildertest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/docker/docker/client"

	"github.com/micro/platform/builder/baseimage"
	"github.com/micro/platform/internal/dockerhost"
)

// Image is the base image of tests: without warm caches but for the standard
// library's.
const Image = "micro/builder-go:test"

// Docker connects to this machine's Docker and makes sure that Image is there,
// once for all tests that run at the same time.
func Docker(t testing.TB) *client.Client {
	t.Helper()
	docker, err := dockerhost.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("micro-builder-test-%d.lock", os.Geteuid())), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := baseimage.Build(t.Context(), docker, baseimage.Options{Name: Image, Out: &out}); err != nil {
		t.Fatalf("make %s: %v\n%s", Image, err, out.String())
	}
	return docker
}

// Tar makes an archive as existing clients upload it: the root folder first.
func Tar(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: ".", Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
