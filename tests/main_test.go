package tests

import (
	"context"
	"testing"

	"github.com/micro/platform/tests/platform"
	"github.com/micro/platform/tests/platform/platformtest"
)

// micro is the program under test, built once.
var micro string

func TestMain(m *testing.M) { platformtest.Main(m, &micro) }

// modes are the two ways to run the platform.
var modes = []struct {
	name  string
	apart bool
}{
	{"one process", false},
	{"apart", true},
}

// start starts a platform for a test.
func start(t *testing.T, apart bool, env ...string) *platform.Platform {
	t.Helper()
	return platformtest.Start(t, platform.Config{Micro: micro, Apart: apart, Env: env})
}

// person signs somebody up, with a namespace of the name.
func person(t *testing.T, p *platform.Platform, name string) *platform.Person {
	t.Helper()
	x, err := p.Person(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := x.Signup(t.Context(), "correct horse battery staple", name+"-space"); err != nil {
		t.Fatalf("sign up %s: %v: %s", name, err, out)
	}
	return x
}

// sh runs a line at somebody's terminal.
func sh(ctx context.Context, x *platform.Person, line string) (string, error) {
	out, err := x.Command(ctx, "sh", "-c", line).CombinedOutput()
	return string(out), err
}
