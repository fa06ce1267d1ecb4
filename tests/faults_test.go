package tests

import (
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
)

// TestDockerGoesAway shows that a deploy waits for Docker and says so, that what
// runs goes on running, and that all of it continues when Docker is back.
func TestDockerGoesAway(t *testing.T) {
	t.Parallel()
	gate, err := platform.NewDockerGate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gate.Close)
	p := start(t, false, gate.Env())
	alice := person(t, p, "alice")
	deploy(t, alice, "Hello ")
	gate.Shut()
	expect(t, alice, "Hello Jane", "micro helloworld call --name=Jane")
	edit(t, alice, `"Hello "`, `"Hello again "`)
	expect(t, alice, "", "micro update --detach ./helloworld")
	eventually(t, alice, "Docker is not reachable", "micro status -o json")
	expect(t, alice, "Hello Jane", "micro helloworld call --name=Jane")
	gate.Open()
	eventually(t, alice, "Hello again Jane", "micro helloworld call --name=Jane")
	expect(t, alice, "", "micro kill helloworld")
}

// recovery bounds how long a deploy takes that began again after a crash, with
// caches that are cold, while other tests build.
const recovery = 4 * time.Minute

// TestServerIsKilled ends the server without warning while it deploys, and shows
// that the deploy finishes after the next start, and that nothing was lost.
func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	p := start(t, false)
	alice := person(t, p, "alice")
	expect(t, alice, "", "micro new helloworld && micro run --detach ./helloworld")
	for _, state := range []string{"building", "starting", "running"} {
		eventuallyWithin(t, recovery, alice, `"running"`, `micro status -o json | grep -q '"`+state+`"' && echo '"running"' || micro status -o json`)
		p.Kill("server")
		if err := p.Restart(t.Context()); err != nil {
			t.Fatalf("after it was killed while %s: %v", state, err)
		}
	}
	eventually(t, alice, "Hello Jane", "micro helloworld call --name=Jane")
	out, err := sh(t.Context(), alice, "micro status -o json")
	if err != nil || strings.Count(out, "helloworld") == 0 {
		t.Errorf("status: %v: %s", err, out)
	}
	expect(t, alice, "", "micro kill helloworld")
}
