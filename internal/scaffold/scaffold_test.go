package scaffold

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, want string }{
		{"helloworld", ""},
		{"my-service", ""},
		{"my-2nd-service", ""},
		{"a", ""},
		{strings.Repeat("a", 63), ""},
		{strings.Repeat("a", 64), "63 at most"},
		{"", "lower-case letters"},
		{"Hello", "lower-case letters"},
		{"my_service", "lower-case letters"},
		{"-a", "lower-case letters"},
		{"a-", "lower-case letters"},
		{"a--b", "lower-case letters"},
		{"1a", "lower-case letters"},
		{"../a", "lower-case letters"},
		{"a/b", "lower-case letters"},
		{"store", "a service of the platform"},
		{"v1", "the version of an API"},
		{"time", "standard library"},
		{"request", "like a message"},
		{"streaming-response", "like a message"},
	} {
		if err := CheckName(tt.name); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("CheckName(%q): %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestNewRefuses leaves what is there as it is, and nothing behind.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	module, err := modproxy.New()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"taken": "exists already", "Bad": "lower-case letters"} {
		if _, err := New(t.Context(), module, dir, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%s): %v, want %q", name, err, want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestFiles are those of a project.
func TestFiles(t *testing.T) {
	t.Parallel()
	module, err := modproxy.New()
	if err != nil {
		t.Fatal(err)
	}
	got, err := New(t.Context(), module, t.TempDir(), "helloworld")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want := ".gitignore Makefile README.md go.mod go.sum handler/helloworld.go main.go proto/helloworld.pb.go proto/helloworld.pb.micro.go proto/helloworld.proto"
	if strings.Join(got, " ") != want {
		t.Errorf("files %q, want %q", got, want)
	}
}
