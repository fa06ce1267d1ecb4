package registry

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	registrypb "github.com/micro/platform/proto/registry"
)

func named(name string) func(*registrypb.Service) {
	return func(s *registrypb.Service) { s.Name = name }
}

func accounts(all []*registrypb.Node) string {
	var out []string
	for _, n := range all {
		out = append(out, n.GetMetadata()["account"])
	}
	return strings.Join(out, " ")
}

// TestNamesOfOthers shows that a deployed service gets no calls that are meant
// for another: it registers by the name it was deployed under, or by one in its
// code that is nobody else's.
func TestNamesOfOthers(t *testing.T) {
	t.Parallel()
	s := setup(t)
	notes, mail, later := deployed(t, "a", "notes-r1", "notes"), deployed(t, "a", "mail-r1", "mail"), deployed(t, "a", "greeter-r1", "greeter")
	register(t, s, notes, greeter("n1", named("notes")))
	register(t, s, notes, greeter("n1")) // its code's own name
	for _, tt := range []struct {
		what string
		ctx  context.Context
		req  *registrypb.Service
	}{
		{"a name that another was deployed under and runs by", mail, greeter("m1", named("notes"))},
		{"another version of it", mail, greeter("m1", named("notes"), func(s *registrypb.Service) { s.Version = "v2" })},
		{"a name that another's code has", mail, greeter("m1")},
		{"a name of what is deployed and not up", mail, greeter("m1", named("invoices"))},
	} {
		if _, err := s.Register(tt.ctx, tt.req); errors.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), `was deployed as "mail"`) {
			t.Errorf("%s: %v, want PermissionDenied", tt.what, err)
		}
	}
	register(t, s, mail, greeter("m1", named("letters")))
	register(t, s, deployed(t, "a", "mail-r2", "mail"), greeter("m2", named("letters"))) // its next revision
	register(t, s, deployed(t, "b", "mail-r1", "mail"), greeter("m1"))                   // names are of a namespace

	register(t, s, later, greeter("g1")) // whoever is deployed by the name has it
	if got := accounts(nodes(t, s, later, "greeter")); got != "greeter-r1" {
		t.Errorf("greeter has nodes of %s", got)
	}
	if got := accounts(nodes(t, s, later, "letters")); got != "mail-r1 mail-r2" {
		t.Errorf("letters has nodes of %s", got)
	}
}

// TestNodesOfOthers shows that a deployed service takes away no node but its own.
func TestNodesOfOthers(t *testing.T) {
	t.Parallel()
	s := setup(t)
	first, second := deployed(t, "a", "greeter-r1", "greeter"), deployed(t, "a", "mail-r1", "mail")
	register(t, s, first, greeter("n1"))
	gone := &registrypb.Service{Name: "greeter", Version: "latest", Nodes: []*registrypb.Node{{Id: "n1"}}}
	if _, err := s.Deregister(second, gone); err != nil {
		t.Fatal(err)
	}
	if got := nodes(t, s, first, "greeter"); len(got) != 1 {
		t.Errorf("nodes = %v, want the one that another deregistered", got)
	}
	if _, err := s.Deregister(first, gone); err != nil {
		t.Fatal(err)
	}
	if got := nodes(t, s, first, "greeter"); len(got) != 0 {
		t.Errorf("nodes = %v, want none", got)
	}
}

// TestTokenElsewhere shows that a deployed service's token makes nothing of a
// machine that is not its container.
func TestTokenElsewhere(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, tt := range []struct {
		namespace, observed string
		ok                  bool
	}{
		{"a", "172.18.0.4", true},
		{"a", "fd12::4", true},
		{"a", "203.0.113.9", false},
		{"a", "2001:db8::9", false},
		{identity.Platform, "127.0.0.1", true}, // a process beside the server
	} {
		_, err := s.Register(from(deployed(t, tt.namespace, "greeter-r1", "greeter"), tt.observed), greeter("n1"))
		if (err == nil) != tt.ok || err != nil && errors.Code(err) != codes.InvalidArgument {
			t.Errorf("from %s in %s: %v", tt.observed, tt.namespace, err)
		}
	}
}

// TestDevelopersRegisterNothing shows that what a developer wants to have calls
// has to be deployed.
func TestDevelopersRegisterNothing(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := identity.Caller{ID: "dev", Type: identity.User, Namespace: "a", Scopes: []string{"role:developer"}}
	if _, err := identity.Admit(identity.With(t.Context(), c), c, "registry", "Registry.Register"); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("Admit = %v, want PermissionDenied", err)
	}
	if _, err := s.Register(identity.With(t.Context(), c), greeter("n1")); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("Register = %v, want PermissionDenied", err)
	}
}
