package tests

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
)

// TestJourney goes from sign-up to a called, changed and removed service, for
// two people who use the same names, in both ways to run the platform.
func TestJourney(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, mode.apart)
			alice, bob := person(t, p, "alice"), person(t, p, "bob")
			deploy(t, alice, "Hello ")
			deploy(t, bob, "Bob says hello ")
			t.Run("each reaches their own", func(t *testing.T) {
				for _, x := range []struct {
					who  *platform.Person
					want string
				}{{alice, `"msg": "Hello Jane"`}, {bob, `"msg": "Bob says hello Jane"`}} {
					expect(t, x.who, x.want, "micro helloworld call --name=Jane")
					expect(t, x.who, x.want, `micro call helloworld Helloworld.Call '{"name":"Jane"}'`)
				}
				expect(t, alice, `"msg":"Hello Jane"`, curl(p, "/helloworld/Call", `-d '{"name":"Jane"}'`))
				expect(t, bob, `"msg":"Bob says hello Jane"`, curl(p, "/helloworld/Call?name=Jane", ""))
			})
			t.Run("from inside a container", func(t *testing.T) {
				for _, x := range []struct {
					who  *platform.Person
					want string
				}{{alice, "helloworld says: Hello Jane"}, {bob, "helloworld says: Bob says hello Jane"}} {
					expect(t, x.who, "", "micro new greeter")
					if err := platform.WriteGreeter(filepath.Join(x.who.Home, "greeter")); err != nil {
						t.Fatal(err)
					}
					expect(t, x.who, "running", "micro run ./greeter")
					expect(t, x.who, x.want, "micro greeter call --name=Jane")
				}
			})
			t.Run("what others have does not exist", func(t *testing.T) {
				refuse(t, bob, "no access to namespace", `micro --namespace alice-space call helloworld Helloworld.Call '{}'`)
				expect(t, bob, `"code":403`, curl(p, "/helloworld/Call", "-H 'Micro-Namespace: alice-space' -d '{}'"))
				expect(t, bob, `"code":403`, curl(p, "/helloworld/Call", "-H 'Micro-Namespace: nobody-space' -d '{}'"))
				if out, _ := sh(t.Context(), bob, "micro services; micro status; micro auth list accounts"); strings.Contains(out, "alice") {
					t.Errorf("bob sees alice: %s", out)
				}
			})
			t.Run("update", func(t *testing.T) {
				edit(t, alice, `"Hello "`, `"Good morning "`)
				expect(t, alice, "running", "micro update ./helloworld")
				expect(t, alice, "Good morning Jane", "micro helloworld call --name=Jane")
			})
			t.Run("what does not compile changes nothing", func(t *testing.T) {
				edit(t, alice, `"Good morning "`, `"Good morning " + nothing`)
				refuse(t, alice, "undefined: nothing", "micro update ./helloworld")
				expect(t, alice, "Good morning Jane", "micro helloworld call --name=Jane")
			})
			t.Run("a restart loses nothing", func(t *testing.T) {
				p.Stop()
				if err := p.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				eventually(t, bob, "Bob says hello Jane", "micro helloworld call --name=Jane")
				expect(t, bob, "running", "micro status")
			})
			t.Run("kill", func(t *testing.T) {
				expect(t, alice, "", "micro kill helloworld greeter")
				eventually(t, alice, "not found", "micro call helloworld Helloworld.Call '{}' 2>&1 || true")
				expect(t, bob, "Bob says hello Jane", "micro helloworld call --name=Jane")
				expect(t, bob, "", "micro kill helloworld greeter")
			})
		})
	}
}

// deploy makes helloworld from the template, with a greeting, and runs it.
func deploy(t *testing.T, x *platform.Person, greeting string) {
	t.Helper()
	expect(t, x, "", "micro new helloworld")
	edit(t, x, `"Hello "`, `"`+greeting+`"`)
	expect(t, x, "running", "micro run ./helloworld")
}

// edit changes helloworld's handler.
func edit(t *testing.T, x *platform.Person, from, to string) {
	t.Helper()
	path := filepath.Join(x.Home, "helloworld", "handler", "helloworld.go")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), from) {
		t.Fatalf("%s lacks %s:\n%s", path, from, b)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), from, to)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// curl is a call with the person's token.
func curl(p *platform.Platform, path, more string) string {
	return `curl -s -H "Authorization: Bearer $(micro user token)" "http://` + p.API + path + `" ` + more
}

func expect(t *testing.T, x *platform.Person, want, line string) {
	t.Helper()
	out, err := sh(t.Context(), x, line)
	if err != nil || !strings.Contains(out, want) {
		t.Fatalf("%s$ %s\n%s\n(%v, want %q)", x.Name, line, out, err, want)
	}
}

func refuse(t *testing.T, x *platform.Person, want, line string) {
	t.Helper()
	out, err := sh(t.Context(), x, line)
	if err == nil || !strings.Contains(out, want) {
		t.Fatalf("%s$ %s\n%s\n(%v, want a failure with %q)", x.Name, line, out, err, want)
	}
}

// eventually repeats a line until its answer has a text.
func eventually(t *testing.T, x *platform.Person, want, line string) {
	t.Helper()
	eventuallyWithin(t, settle, x, want, line)
}

func eventuallyWithin(t *testing.T, within time.Duration, x *platform.Person, want, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for {
		out, err := sh(ctx, x, line)
		if err == nil && strings.Contains(out, want) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s$ %s\n%s\n(%v, want %q within %s)", x.Name, line, out, err, want, within)
		}
	}
}
