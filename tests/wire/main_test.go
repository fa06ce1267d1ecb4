// Package wire shows that what existing Micro clients do on the wire and at the
// terminal works against a platform of our own.
package wire

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

// bin is where the programs under test are, built once.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "micro-bin-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	bin = dir
	if err := build("../../cmd/micro", "micro"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// build builds a program of this module, or of one below it.
func build(dir, name string) error {
	cmd := exec.Command("go", "build", "-o", filepath.Join(bin, name), ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", name, err)
	}
	return nil
}

// start starts a platform in one process. What it printed shows when the test
// fails.
func start(t *testing.T) *platform.Platform {
	t.Helper()
	p, err := platform.Start(t.Context(), platform.Config{Micro: filepath.Join(bin, "micro"), Dir: t.TempDir(), Log: logger{t}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Remove(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

type logger struct{ t *testing.T }

func (l logger) Write(b []byte) (int, error) {
	l.t.Logf("%s", b)
	return len(b), nil
}

const password = "correct horse battery staple"

// person signs somebody up, with a namespace of the name.
func person(t testing.TB, p *platform.Platform, name string) *platform.Person {
	t.Helper()
	x, err := p.Person(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := x.Signup(t.Context(), password, name+"-space"); err != nil {
		t.Fatalf("sign up %s: %v: %s", name, err, out)
	}
	return x
}
