// Package wire shows that what existing Micro clients do on the wire and at the
// terminal works against a platform of our own.
package wire

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/micro/platform/tests/platform"
	"github.com/micro/platform/tests/platform/platformtest"
)

// micro is the program under test, built once. Other programs are beside it.
var micro string

func TestMain(m *testing.M) { platformtest.Main(m, &micro) }

// build builds a program of a module below this one, beside micro, and answers
// its path.
func build(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(micro), name)
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", name, err, out)
	}
	return path
}

// start starts a platform in one process.
func start(t *testing.T) *platform.Platform {
	t.Helper()
	return platformtest.Start(t, platform.Config{Micro: micro})
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
