package swarm

import (
	"strings"
	"testing"
)

// TestTemplatesAreText shows that Swarm does not execute what tenants write as
// its templates, which would tell about the host or not end (T8).
func TestTemplatesAreText(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.plan(t, "ns", "web", "serve", ":8080", "{{.Node.Hostname}}")
	texts := []string{
		"HOST={{.Node.Hostname}}", `LARGE={{printf "%1000000d" 1}}`, "BROKEN={{nothing", "TRIMMED={{- .Service.Name -}}",
		"THREE={{{.Node.ID}}}", `QUOTED={{"{{"}}`, "END=}}{",
	}
	s.Env = append(s.Env, texts...)
	b.apply(t, s)
	st := b.wait(t, s.ID, running)
	env := get(t, st, "/env", nil)
	for _, want := range texts {
		if !strings.Contains(env, want+"\n") {
			t.Errorf("no %q in\n%.2000s", want, env)
		}
	}
	if args := get(t, st, "/args", nil); !strings.Contains(args, "{{.Node.Hostname}}") {
		t.Errorf("args are %s", args)
	}
}
