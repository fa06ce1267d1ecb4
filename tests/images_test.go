package tests

import (
	"path/filepath"
	"testing"

	"github.com/micro/platform/tests/platform"
)

// TestImagesGone loses everything that Docker has of a platform, images too, and
// shows that its services build themselves again: of the same commit, whatever
// the branch has by then.
func TestImagesGone(t *testing.T) {
	t.Parallel()
	git, err := platform.StartGit(filepath.Join(t.TempDir(), "git"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(git.Close)
	p := start(t, false, "MICRO_BUILDER_GIT_HOSTS="+git.Address)
	alice := person(t, p, "alice")
	deploy(t, alice, "Hello ")
	push := func(from, to string) string {
		t.Helper()
		edit(t, alice, from, to)
		url, err := git.Push(t.Context(), filepath.Join(alice.Home, "helloworld"), "services", "hellogit")
		if err != nil {
			t.Fatal(err)
		}
		return url
	}
	expect(t, alice, "running", "micro run --force "+push(`"Hello "`, `"Pushed first "`)+"/hellogit@main")
	push(`"Pushed first "`, `"Pushed later "`)

	p.Stop()
	if err := p.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventuallyWithin(t, recovery, alice, "Hello Jane", "micro helloworld call --name=Jane")
	eventuallyWithin(t, recovery, alice, "Pushed first Jane", `micro call hellogit Helloworld.Call '{"name":"Jane"}'`)
}
