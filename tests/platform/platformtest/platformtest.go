// Package platformtest runs platforms for tests.
package platformtest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
)

// Main runs the tests of a package with the program under test, which is built
// once, into a directory of its own, and then is at *micro.
func Main(m *testing.M, micro *string) {
	flag.Parse()
	code, err := run(m, micro)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, micro *string) (int, error) {
	dir, err := os.MkdirTemp("", "micro-bin-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	*micro = filepath.Join(dir, "micro")
	build := exec.Command("go", "build", "-o", *micro, "github.com/micro/platform/cmd/micro")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return 0, fmt.Errorf("build micro: %w", err)
	}
	return m.Run(), nil
}

// Start starts a platform, in a directory of its own unless c has one, and
// removes it when the test ends. What it prints shows when the test fails.
func Start(t testing.TB, c platform.Config) *platform.Platform {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	c.Log = t.Output()
	p, err := platform.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Leave(t, p) })
	return p
}

// Leave stops a platform and removes what it made in Docker.
func Leave(t testing.TB, p *platform.Platform) {
	p.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Remove(ctx); err != nil {
		t.Error(err)
	}
}
