package scaffold

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/platform/internal/modproxy"
)

// TestNewBuilds builds a new project with Go's own settings and a module cache
// that has had the framework put into it.
func TestNewBuilds(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"helloworld", "my-2nd-service"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newProject(t, name)
			run(t, dir, "go", "mod", "verify")
			run(t, dir, "go", "vet", "./...")
			run(t, dir, "go", "build", "-o", filepath.Join(t.TempDir(), name), ".")
			if diff := run(t, dir, "go", "mod", "tidy", "-diff"); diff != "" {
				t.Errorf("go.mod or go.sum is not what Go makes of it:\n%s", diff)
			}
		})
	}
}

func newProject(t *testing.T, name string) string {
	t.Helper()
	module, err := modproxy.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := module.SeedUser(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := New(t.Context(), module, dir, name); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &stderr, &stdout)
	}
	return strings.TrimSpace(stdout.String())
}
