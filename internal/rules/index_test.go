package rules

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
)

// linear is Evaluate without an index: it looks at every rule.
func linear(s *Set, caller *identity.Caller, r Resource) Decision {
	for _, rule := range s.rules {
		if !applies(rule.GetResource(), r) {
			continue
		}
		if d, decided := s.decide(rule, caller); decided {
			return d
		}
	}
	if caller == nil {
		return Decision{Reason: "no rule lets callers without an account in"}
	}
	return Decision{Reason: "no rule grants it to this account"}
}

// TestIndex compares with linear, for rules at random.
func TestIndex(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	names := []string{"*", "notes", "Notes", "NOTES", "ſtore", "store", "STORE", "\u212Aelvin", "kelvin", "", "no*", "\xff", "\xfe", "ß", "İ", "i"}
	endpoints := []string{"*", "Notes.List", "notes.list", "a/*", "A/b/*", "a/b", "a/B/c", "a/", "/*", "a*", "", "*/x", "ſ.K", "s.\u212A"}
	for range 20_000 {
		var list []*authpb.Rule
		for i := range random.IntN(12) {
			list = append(list, &authpb.Rule{Id: fmt.Sprint(i), Scope: pick("", "*", "+", "admin", "other"), Priority: int32(random.IntN(4)),
				Access:   authpb.Access(random.IntN(3)),
				Resource: &authpb.Resource{Type: pick("*", "service", "Service", "x"), Name: pick(names...), Endpoint: pick(endpoints...)}})
		}
		s := New("acme", list)
		r := Resource{Type: "service", Name: pick(names...), Endpoint: pick(endpoints...)}
		callers := []*identity.Caller{nil, {ID: "a", Namespace: "acme", Scopes: []string{"admin"}}, {ID: "b", Namespace: "acme"}, {ID: "c", Namespace: "other"}}
		for _, c := range callers {
			want := linear(s, c, r)
			got := s.Evaluate(c, r)
			explained, steps := s.Explain(c, r)
			if got != want || explained != want {
				t.Fatalf("seed %d: %v about %+v for %+v:\n%+v indexed\n%+v explained\n%+v one by one", seed, list, r, c, got, explained, want)
			}
			about := 0
			for _, rule := range s.rules {
				if applies(rule.GetResource(), r) {
					if about >= len(steps) || steps[about].Rule != rule {
						t.Fatalf("seed %d: step %d of %v is not rule %v", seed, about, steps, rule)
					}
					about++
				}
			}
			if about != len(steps) {
				t.Fatalf("seed %d: %d steps, want %d", seed, len(steps), about)
			}
		}
	}
}

func FuzzFold(f *testing.F) {
	f.Add("Kelvin", "\u212Aelvin")
	f.Add("ß", "SS")
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.EqualFold(a, b) && fold(a) != fold(b) {
			t.Errorf("%q and %q are equal, folded %q and %q", a, b, fold(a), fold(b))
		}
	})
}

// BenchmarkEvaluate is a decision in a namespace of 1,000 rules.
func BenchmarkEvaluate(b *testing.B) {
	rule := func(i int, name, endpoint, scope string) *authpb.Rule {
		return &authpb.Rule{Id: fmt.Sprintf("rule-%d", i), Scope: scope, Access: authpb.Access_GRANTED, Priority: int32(i % 10),
			Resource: &authpb.Resource{Type: "service", Name: name, Endpoint: endpoint}}
	}
	caller := &identity.Caller{ID: "alice", Namespace: "acme", Type: identity.User, Scopes: []string{"last"}}
	for name, make := range map[string]func(i int) *authpb.Rule{
		"of many services":              func(i int) *authpb.Rule { return rule(i, fmt.Sprintf("service-%d", i/4), "*", "last") },
		"of one service's endpoints":    func(i int) *authpb.Rule { return rule(i, "service-7", fmt.Sprintf("Notes.Method%d", i), "last") },
		"all of the same, other scopes": func(i int) *authpb.Rule { return rule(i, "service-7", "*", fmt.Sprintf("scope-%d", i)) },
	} {
		b.Run(name, func(b *testing.B) {
			var list []*authpb.Rule
			for i := range 1000 {
				list = append(list, make(i))
			}
			s := New("acme", list)
			r := Resource{Type: "service", Name: "service-7", Endpoint: "Notes.Method999"}
			b.ReportAllocs()
			for b.Loop() {
				s.Evaluate(caller, r)
			}
		})
	}
}
