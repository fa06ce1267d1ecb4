package namespaces

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// parts is a component that erases a namespace in so many calls.
type parts struct {
	name string

	mu    sync.Mutex
	left  int
	calls int
	err   error
}

func (p *parts) eraser() eraser {
	return eraser{p.name, func(ctx context.Context, _ deletion) (bool, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !identity.CallsAsComponent(ctx) {
			return false, errors.New(codes.PermissionDenied, "for components only")
		}
		p.calls++
		if p.err != nil {
			return false, p.err
		}
		p.left = max(0, p.left-1)
		return p.left == 0, nil
	}}
}

func (p *parts) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *parts) called() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// leaving carries out the deletions of a bundle, as a process that runs would.
func (b *bundle) leaving(all ...*parts) *deletions {
	d := &deletions{db: b.db, mails: b.mails, log: slog.New(slog.DiscardHandler), opts: b.opts, now: time.Now}
	for _, p := range all {
		d.components = append(d.components, p.eraser())
	}
	return d
}

func (b *bundle) delete(ctx context.Context, name string) (*namespacespb.Deletion, error) {
	rsp, err := b.Delete(ctx, &namespacespb.DeleteNamespaceRequest{Namespace: name, Confirm: name, Reason: "moving on"})
	return rsp.GetDeletion(), err
}

// state is the state of a namespace as an operator sees it.
func (b *bundle) state(t *testing.T, name string) *namespacespb.Deletion {
	t.Helper()
	rsp, err := b.GetDeletion(as(t, identity.Platform), &namespacespb.GetDeletionRequest{Namespace: name})
	if err != nil {
		t.Fatal(err)
	}
	return rsp.GetDeletion()
}

// due lets the time to undo pass.
func (b *bundle) due(t *testing.T, column, name string) {
	t.Helper()
	if _, err := b.pool.Exec(t.Context(), `UPDATE namespaces.deletions SET `+column+` = now() WHERE namespace = $1`, name); err != nil {
		t.Fatal(err)
	}
}

func TestDeleteIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "olga@example.com", "acme")
	b.signup(t, "mallory@example.com", "other")
	olga := person(t, "acme", "olga@example.com", grants.Owner)
	for _, role := range grants.Roles[1:] {
		b.join(t, olga, string(role)+"@example.com", role)
	}
	token := identity.With(t.Context(), identity.Caller{ID: "olga@example.com", Type: identity.User, Namespace: "acme", Scopes: []string{"admin", "role:owner"},
		Grants: []grants.Grant{{}}})
	for _, tt := range []struct {
		name               string
		ctx                context.Context
		namespace, confirm string
		reason             string
		want               codes.Code
	}{
		{"nobody", t.Context(), "acme", "acme", "", codes.Unauthenticated},
		{"somebody else's", person(t, "other", "mallory@example.com", grants.Owner), "acme", "acme", "", codes.PermissionDenied},
		{"an admin", person(t, "acme", "admin@example.com", grants.Admin), "acme", "acme", "", codes.PermissionDenied},
		{"a developer", person(t, "acme", "developer@example.com", grants.Developer), "acme", "acme", "", codes.PermissionDenied},
		{"a viewer", person(t, "acme", "viewer@example.com", grants.Viewer), "acme", "acme", "", codes.PermissionDenied},
		{"who pays", person(t, "acme", "billing@example.com", grants.Billing), "acme", "acme", "", codes.PermissionDenied},
		{"an API token", token, "acme", "acme", "", codes.PermissionDenied},
		{"no name", olga, "", "", "", codes.InvalidArgument},
		{"not confirmed", olga, "acme", "", "", codes.InvalidArgument},
		{"confirmed another", olga, "acme", "other", "", codes.InvalidArgument},
		{"a novel", olga, "acme", "acme", strings.Repeat("x", maxReason+1), codes.InvalidArgument},
		{"the operators' own", as(t, identity.Platform), "micro", "micro", "", codes.FailedPrecondition},
		{"none", as(t, identity.Platform), "nowhere", "nowhere", "", codes.NotFound},
	} {
		_, err := b.Delete(tt.ctx, &namespacespb.DeleteNamespaceRequest{Namespace: tt.namespace, Confirm: tt.confirm, Reason: tt.reason})
		if errors.Code(err) != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if n := b.rows(t, "deletions"); n != 0 {
		t.Errorf("%d deletions", n)
	}
	if _, err := b.ListDeletions(olga, &namespacespb.ListDeletionsRequest{}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("an owner lists deletions: %v", err)
	}
}

// TestUndelete shows that nothing is lost, that edges hear of both, and that the
// owners get mail.
func TestUndelete(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "olga@example.com", "acme")
	b.follow(t, b.Service)
	f := watching(t, b.Service)
	f.snapshot(t)
	olga := person(t, "acme", "olga@example.com", grants.Owner)
	b.join(t, olga, "dev@example.com", grants.Developer)
	before := b.roles(t, olga)
	d, err := b.delete(olga, "acme")
	if err != nil || d.GetState() != namespacespb.State_DELETING || d.GetAccount() != "olga@example.com" || d.GetErase() <= d.GetDeleted() {
		t.Fatalf("Delete = %v, %v", d, err)
	}
	if again, err := b.delete(olga, "acme"); err != nil || again.GetDeleted() != d.GetDeleted() {
		t.Errorf("again: %v, %v; want the same", again, err)
	}
	if got := f.next(t).GetTenant(); got.GetNamespace() != "acme" || got.GetDeleted().GetState() != namespacespb.State_DELETING {
		t.Errorf("edges are told %v", got)
	}
	if got := b.letter(t, "olga@example.com", 2); !strings.Contains(got, "micro namespace undelete acme") {
		t.Errorf("mail:\n%s", got)
	}
	if got := b.state(t, "acme"); got.GetReason() != "moving on" {
		t.Errorf("state = %v", got)
	}
	leaving := b.leaving(&parts{name: "store", left: 1})
	b.due(t, "warn_at", "acme")
	if err := leaving.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.letter(t, "olga@example.com", 3); !strings.Contains(got, "is erased, for good") {
		t.Errorf("mail:\n%s", got)
	}
	dev := person(t, "acme", "dev@example.com", grants.Developer)
	if _, err := b.Undelete(dev, &namespacespb.UndeleteNamespaceRequest{}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("a developer undeletes: %v", err)
	}
	for range 2 { // again changes nothing
		if _, err := b.Undelete(olga, &namespacespb.UndeleteNamespaceRequest{Namespace: "acme"}); err != nil {
			t.Fatal(err)
		}
		if got := f.next(t).GetTenant(); got.GetNamespace() != "acme" || got.GetDeleted() != nil {
			t.Errorf("edges are told %v", got)
		}
	}
	if got := b.state(t, "acme"); got.GetState() != namespacespb.State_ACTIVE {
		t.Errorf("state = %v", got)
	}
	if got := b.roles(t, olga); got != before {
		t.Errorf("members %s, were %s", got, before)
	}
}

// TestErase goes through an erasure: a component that is away does not hold up
// the others but the last, which process goes on does not matter, and all are
// called once more before the end.
func TestErase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.opts.Quarantine = time.Hour
	b.signup(t, "olga@example.com", "acme")
	b.signup(t, "piet@example.com", "piets")
	olga := person(t, "acme", "olga@example.com", grants.Owner)
	b.invite(t, olga, "dev@example.com", grants.Developer)
	if _, err := b.delete(olga, "acme"); err != nil {
		t.Fatal(err)
	}
	_, err := b.pool.Exec(t.Context(), `INSERT INTO namespaces.imports (namespace, digest, part) VALUES ('acme', 'd', ''), ('piets', 'd', '')`)
	if err != nil {
		t.Fatal(err)
	}
	first, middle, last := &parts{name: "runtime", left: 3}, &parts{name: "store", left: 1}, &parts{name: "audit", left: 1}
	process := func() *deletions {
		d := b.leaving(first, middle, last)
		d.components = slices.Insert(d.components, 2, b.db.eraser())
		return d
	}
	leaving := process()
	if err := leaving.step(t.Context()); err != nil || first.called() != 0 {
		t.Fatalf("before its time: %v, %d calls", err, first.called())
	}
	b.due(t, "erase_at", "acme")
	first.fail(errors.New(codes.Unavailable, "Docker is away"))
	if err := leaving.step(t.Context()); err == nil || middle.called() != 1 || last.called() != 0 {
		t.Fatalf("with one away: %v, %d and %d calls", err, middle.called(), last.called())
	}
	if got := b.state(t, "acme"); got.GetState() != namespacespb.State_ERASING || got.GetComponents()[0].GetError() == "" || got.GetComponents()[1].GetDone() == 0 {
		t.Errorf("state = %v", got)
	}
	for what, err := range map[string]error{
		"undelete": func() error {
			_, err := b.Undelete(olga, &namespacespb.UndeleteNamespaceRequest{Namespace: "acme"})
			return err
		}(),
		"members": func() error { _, err := b.Configure(olga, &namespacespb.ConfigureRequest{}); return err }(),
		"get":     func() error { _, err := b.Get(olga, &namespacespb.GetRequest{}); return err }(),
	} {
		if errors.Code(err) != codes.NotFound {
			t.Errorf("%s while it is erased: %v, want NotFound", what, err)
		}
	}

	// Another process goes on.
	first.fail(nil)
	leaving = process()
	b.due(t, "next_at", "acme")
	if err := leaving.step(t.Context()); err != nil || last.called() != 1 {
		t.Fatalf("the rest: %v, %d calls", err, last.called())
	}
	if got := b.state(t, "acme"); got.GetState() != namespacespb.State_ERASING {
		t.Errorf("it is %v before it was looked through again", got.GetState())
	}
	b.due(t, "next_at", "acme")
	if err := leaving.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if middle.called() != 2 || last.called() != 2 {
		t.Errorf("%d and %d calls, want one more of each", middle.called(), last.called())
	}
	got := b.state(t, "acme")
	if got.GetState() != namespacespb.State_ERASED || got.GetErased() == 0 || got.GetFree() <= got.GetErased() {
		t.Errorf("state = %v", got)
	}
	if left := pgtest.Rows(t, b.pool, "namespaces", "acme"); !maps.Equal(left, map[string]int{"deletions": 1, "erasures": 4}) {
		t.Errorf("left: %v", left)
	}
	if got := pgtest.Rows(t, b.pool, "namespaces", "piets"); !maps.Equal(got, map[string]int{"namespaces": 1, "members": 1, "imports": 1}) {
		t.Errorf("the other namespace has %v", got)
	}
	all, err := b.ListDeletions(as(t, identity.Platform), &namespacespb.ListDeletionsRequest{})
	if err != nil || len(all.GetDeletions()) != 1 {
		t.Errorf("ListDeletions = %v, %v", all, err)
	}
}

// TestNameIsHeld keeps a name from being taken too soon, and lets whoever takes
// it then begin anew.
func TestNameIsHeld(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.opts.Quarantine = time.Hour
	b.signup(t, "olga@example.com", "acme")
	b.signup(t, "piet@example.com", "piets")
	b.follow(t, b.Service)
	f := watching(t, b.Service)
	f.snapshot(t)
	told := func(want namespacespb.State) { // before it changes again: of changes in a row the last is told
		t.Helper()
		if got := f.next(t).GetTenant().GetDeleted().GetState(); got != want {
			t.Errorf("edges are told %v, want %v", got, want)
		}
	}
	if _, err := b.delete(as(t, identity.Platform), "acme"); err != nil {
		t.Fatal(err)
	}
	told(namespacespb.State_DELETING)
	if got := b.letter(t, "olga@example.com", 2); !strings.Contains(got, "An operator of the server deleted") {
		t.Errorf("mail:\n%s", got)
	}
	b.due(t, "erase_at", "acme")
	leaving := b.leaving(&parts{name: "store", left: 1})
	for _, want := range []namespacespb.State{namespacespb.State_ERASING, namespacespb.State_ERASED} {
		if err := leaving.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		told(want)
		b.due(t, "next_at", "acme")
	}
	piet := person(t, "piets", "piet@example.com", grants.Owner)
	if _, err := b.Create(piet, &namespacespb.CreateNamespaceRequest{Name: "acme"}); errors.Code(err) != codes.AlreadyExists {
		t.Errorf("the name is taken at once: %v, want AlreadyExists", err)
	}
	b.due(t, "free_at", "acme")
	if err := b.db.forgetDeletions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.state(t, "acme"); got.GetAccount() != "" || got.GetReason() != "" {
		t.Errorf("it is still known who deleted it: %v", got)
	}
	if _, err := b.Create(piet, &namespacespb.CreateNamespaceRequest{Name: "acme"}); err != nil {
		t.Fatal(err)
	}
	if got := f.next(t).GetTenant(); got.GetDeleted() != nil || got.GetSince() == 0 {
		t.Errorf("edges are told %v, want since when it is another one", got)
	}
	if got := b.state(t, "acme"); got.GetState() != namespacespb.State_ACTIVE || got.GetDeleted() != 0 {
		t.Errorf("the new namespace is %v", got)
	}
	if d, err := b.delete(person(t, "acme", "piet@example.com", grants.Owner), "acme"); err != nil || d.GetState() != namespacespb.State_DELETING || len(d.GetComponents()) != 0 {
		t.Errorf("deleted again: %v, %v", d, err)
	}
}
