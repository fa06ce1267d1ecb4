package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
)

// The scopes that are not a scope of an account.
const (
	Public    = ""  // everybody, also without an account
	Namespace = "*" // every account of the namespace
	Anybody   = "+" // every account of any namespace
)

// DefaultID is the id of the rule of a namespace that has no other.
const DefaultID = "default"

// Default is the rule of a namespace without any: its accounts may call its
// services, others may not.
func Default() *authpb.Rule { return everything(Namespace) }

// DefaultPublic is the default rule where everybody may call everything.
func DefaultPublic() *authpb.Rule { return everything(Public) }

func everything(scope string) *authpb.Rule {
	return &authpb.Rule{Id: DefaultID, Scope: scope, Access: authpb.Access_GRANTED,
		Resource: &authpb.Resource{Type: "*", Name: "*", Endpoint: "*"}}
}

// Resource is what is called: ("service", "notes", "Notes.Read").
type Resource struct {
	Type, Name, Endpoint string
}

// Decision says whether a call is allowed, and why.
type Decision struct {
	Allowed bool
	// Rule is the id of the rule that decided; empty when none did.
	Rule string
	// Reason is for a person.
	Reason string
}

// Set is the rules of one namespace, ready to decide. It never changes.
type Set struct {
	namespace string
	rules     []*authpb.Rule
	scopes    []string // of the rules, side by side: most are looked at no further
	index     index
}

// New makes the Set of a namespace. Without rules it is the default's.
func New(namespace string, rules []*authpb.Rule) *Set {
	if len(rules) == 0 {
		rules = []*authpb.Rule{Default()}
	}
	rules = Sort(rules)
	scopes := make([]string, len(rules))
	for i, rule := range rules {
		scopes[i] = rule.GetScope()
	}
	return &Set{namespace: namespace, rules: rules, scopes: scopes, index: newIndex(rules)}
}

// Sort answers the rules in the order in which they decide: highest priority
// first, then by id.
func Sort(rules []*authpb.Rule) []*authpb.Rule {
	out := slices.Clone(rules)
	slices.SortFunc(out, func(a, b *authpb.Rule) int {
		return cmp.Or(cmp.Compare(b.GetPriority(), a.GetPriority()), strings.Compare(a.GetId(), b.GetId()))
	})
	return out
}

// Step is what a rule says about a call.
type Step struct {
	Rule *authpb.Rule
	// Decides says that this rule decided.
	Decides bool
	// Reason is for a person.
	Reason string
}

// Evaluate decides for a caller; nil is anonymous. The first rule that speaks
// about the resource and the caller decides.
func (s *Set) Evaluate(caller *identity.Caller, r Resource) Decision {
	d, _ := s.walk(caller, r, nil)
	return d
}

// Explain is Evaluate, and answers the rules that speak about the resource, in
// order, with what each says.
func (s *Set) Explain(caller *identity.Caller, r Resource) (Decision, []Step) {
	var steps []Step
	d, rest := s.walk(caller, r, func(rule *authpb.Rule, d Decision, decided bool) {
		steps = append(steps, Step{rule, decided, d.Reason})
	})
	for at, more := rest.next(); more; at, more = rest.next() {
		if applies(s.rules[at].GetResource(), r) {
			steps = append(steps, Step{Rule: s.rules[at], Reason: "not asked any more"})
		}
	}
	return d, steps
}

// walk asks the rules in turn until one decides, and answers those that were
// not asked.
func (s *Set) walk(caller *identity.Caller, r Resource, seen func(rule *authpb.Rule, d Decision, decided bool)) (Decision, candidates) {
	list := s.index.candidates(r)
	for at, more := list.next(); more; at, more = list.next() {
		if seen == nil && s.skips(s.scopes[at], caller) {
			continue
		}
		rule := s.rules[at]
		if !applies(rule.GetResource(), r) {
			continue
		}
		d, decided := s.decide(rule, caller)
		if seen != nil {
			seen(rule, d, decided)
		}
		if decided {
			return d, list
		}
	}
	if caller == nil {
		return Decision{Reason: "no rule lets callers without an account in"}, list
	}
	return Decision{Reason: "no rule grants it to this account"}, list
}

// skips says whether decide is undecided, which costs less to find out than
// whether the rule applies.
func (s *Set) skips(scope string, caller *identity.Caller) bool {
	if scope == Public {
		return false
	}
	return caller == nil || scope != Anybody && scope != Namespace && caller.Namespace == s.namespace && !caller.Has(scope)
}

func (s *Set) decide(rule *authpb.Rule, caller *identity.Caller) (d Decision, decided bool) {
	scope := rule.GetScope()
	switch {
	case scope == Public:
		return answer(rule, "everybody"), true
	case caller == nil:
		return Decision{Reason: "speaks about accounts, and there is none"}, false
	case scope != Anybody && caller.Namespace != s.namespace:
		return Decision{Rule: rule.GetId(), Reason: "the account belongs to another namespace"}, true
	case scope == Anybody:
		return answer(rule, "every account"), true
	case scope == Namespace:
		return answer(rule, "every account of the namespace"), true
	case caller.Has(scope):
		return answer(rule, fmt.Sprintf("accounts with scope %q", scope)), true
	}
	return Decision{Reason: "the account lacks the scope"}, false
}

func answer(rule *authpb.Rule, whom string) Decision {
	d := Decision{Allowed: rule.GetAccess() == authpb.Access_GRANTED, Rule: rule.GetId()}
	verb := "denies"
	if d.Allowed {
		verb = "grants"
	}
	d.Reason = fmt.Sprintf("rule %q %s it to %s", rule.GetId(), verb, whom)
	return d
}

// applies says whether a rule speaks about a resource. Names compare without
// regard to case, as they always have in Micro.
func applies(rule *authpb.Resource, r Resource) bool {
	return matches(rule.GetType(), r.Type) && matches(rule.GetName(), r.Name) &&
		(matches(rule.GetEndpoint(), r.Endpoint) || below(rule.GetEndpoint(), r.Endpoint))
}

func matches(pattern, s string) bool { return pattern == "*" || strings.EqualFold(pattern, s) }

// below matches "a/*" with "a/b" and "a/b/c".
func below(pattern, endpoint string) bool {
	prefix, ok := strings.CutSuffix(pattern, "*")
	if !ok || !strings.HasSuffix(prefix, "/") || len(endpoint) <= len(prefix) {
		return false
	}
	return strings.EqualFold(prefix, endpoint[:len(prefix)])
}
