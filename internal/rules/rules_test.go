package rules

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	granted = authpb.Access_GRANTED
	denied  = authpb.Access_DENIED
)

func rule(id, scope, typ, name, endpoint string, access authpb.Access, priority int32) *authpb.Rule {
	return &authpb.Rule{Id: id, Scope: scope, Access: access, Priority: priority,
		Resource: &authpb.Resource{Type: typ, Name: name, Endpoint: endpoint}}
}

func TestEvaluate(t *testing.T) {
	t.Parallel()
	read := Resource{"service", "notes", "Notes.Read"}
	member := &identity.Caller{ID: "alice", Namespace: "acme"}
	editor := &identity.Caller{ID: "ed", Namespace: "acme", Scopes: []string{"editor"}}
	stranger := &identity.Caller{ID: "bob", Namespace: "other", Scopes: []string{"editor"}}
	all := func(id, scope string, access authpb.Access, priority int32) *authpb.Rule {
		return rule(id, scope, "*", "*", "*", access, priority)
	}
	for _, tt := range []struct {
		name     string
		rules    []*authpb.Rule
		caller   *identity.Caller
		resource Resource
		want     bool
		by       string
	}{
		{"default, member", nil, member, read, true, DefaultID},
		{"default, anonymous", nil, nil, read, false, ""},
		{"default, stranger", nil, stranger, read, false, DefaultID},
		{"public default, anonymous", []*authpb.Rule{DefaultPublic()}, nil, read, true, DefaultID},
		{"public denied", []*authpb.Rule{all("a", Public, denied, 0)}, member, read, false, "a"},
		{"any account, stranger", []*authpb.Rule{all("a", Anybody, granted, 0)}, stranger, read, true, "a"},
		{"any account, anonymous", []*authpb.Rule{all("a", Anybody, granted, 0)}, nil, read, false, ""},
		{"any account denied", []*authpb.Rule{all("a", Anybody, denied, 0)}, member, read, false, "a"},
		{"scope held", []*authpb.Rule{all("a", "editor", granted, 0)}, editor, read, true, "a"},
		{"scope not held", []*authpb.Rule{all("a", "editor", granted, 0)}, member, read, false, ""},
		{"scope held in another namespace", []*authpb.Rule{all("a", "editor", granted, 0)}, stranger, read, false, "a"},
		{"scope not held, next decides", []*authpb.Rule{all("a", "editor", denied, 1), Default()}, member, read, true, DefaultID},
		{"stranger is refused before a later rule for anybody", []*authpb.Rule{all("a", Namespace, granted, 1), all("b", Anybody, granted, 0)}, stranger, read, false, "a"},
		{"highest priority decides", []*authpb.Rule{all("a", Namespace, granted, 1), all("b", Namespace, denied, 2)}, member, read, false, "b"},
		{"same priority: by id", []*authpb.Rule{all("b", Namespace, denied, 1), all("a", Namespace, granted, 1)}, member, read, true, "a"},
		{"negative priority", []*authpb.Rule{all("a", Namespace, denied, -1), all("b", Namespace, granted, 0)}, member, read, true, "b"},
		{"one endpoint public", []*authpb.Rule{rule("a", Public, "service", "notes", "Notes.Read", granted, 1), Default()}, nil, read, true, "a"},
		{"case is ignored", []*authpb.Rule{rule("a", Public, "Service", "NOTES", "notes.read", granted, 1)}, nil, read, true, "a"},
		{"other type", []*authpb.Rule{rule("a", Public, "topic", "notes", "Notes.Read", granted, 1)}, nil, read, false, ""},
		{"other name", []*authpb.Rule{rule("a", Public, "service", "note", "*", granted, 1)}, nil, read, false, ""},
		{"other endpoint", []*authpb.Rule{rule("a", Public, "service", "notes", "Notes.Write", granted, 1)}, nil, read, false, ""},
		{"below a path", []*authpb.Rule{rule("a", Public, "*", "*", "a/*", granted, 1)}, nil, Resource{"service", "x", "a/b/c"}, true, "a"},
		{"below a deep path", []*authpb.Rule{rule("a", Public, "*", "*", "a/b/*", granted, 1)}, nil, Resource{"service", "x", "a/b/c"}, true, "a"},
		{"beside a path", []*authpb.Rule{rule("a", Public, "*", "*", "a/*", granted, 1)}, nil, Resource{"service", "x", "ab/c"}, false, ""},
		{"the path itself", []*authpb.Rule{rule("a", Public, "*", "*", "a/*", granted, 1)}, nil, Resource{"service", "x", "a/"}, false, ""},
		{"a star is no pattern inside a word", []*authpb.Rule{rule("a", Public, "*", "*", "Notes.*", granted, 1)}, nil, read, false, ""},
		{"access unknown denies", []*authpb.Rule{all("a", Public, authpb.Access_UNKNOWN, 0)}, member, read, false, "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := New("acme", tt.rules).Evaluate(tt.caller, tt.resource)
			if d.Allowed != tt.want || d.Rule != tt.by || d.Reason == "" {
				t.Errorf("Evaluate = %+v, want %v by %q", d, tt.want, tt.by)
			}
		})
	}
}

// TestProperties holds for all rules: the order in which they are stored does
// not matter, a stranger never gets in by a rule for the namespace, and without
// an account only public rules let in.
func TestProperties(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for range 5000 {
		var set []*authpb.Rule
		for i := range r.IntN(6) {
			set = append(set, rule(string(rune('a'+i)), pick("", "*", "+", "editor", "admin"), pick("service", "*", "topic"),
				pick("notes", "*", "x"), pick("Notes.Read", "*", "a/*"), authpb.Access(1+r.IntN(2)), int32(r.IntN(3))))
		}
		caller := &identity.Caller{Namespace: pick("acme", "other"), Scopes: []string{pick("editor", "admin", "none")}}
		if r.IntN(3) == 0 {
			caller = nil
		}
		resource := Resource{"service", pick("notes", "x"), pick("Notes.Read", "a/b")}
		d := New("acme", set).Evaluate(caller, resource)

		shuffled := slices.Clone(set)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if again := New("acme", shuffled).Evaluate(caller, resource); again != d {
			t.Fatalf("order matters: %+v and %+v for %v", d, again, set)
		}
		if !d.Allowed {
			continue
		}
		i := slices.IndexFunc(set, func(x *authpb.Rule) bool { return x.GetId() == d.Rule })
		scope := Namespace // of the default
		if i >= 0 {
			scope = set[i].GetScope()
		}
		if caller == nil && scope != Public || caller != nil && caller.Namespace == "other" && scope != Public && scope != Anybody {
			t.Fatalf("scope %q let %+v in: %v", scope, caller, set)
		}
	}
}
