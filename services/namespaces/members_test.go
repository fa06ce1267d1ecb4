package namespaces

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// person is somebody in a namespace, in a role.
func person(t *testing.T, namespace, account string, role grants.Role) context.Context {
	scopes := []string{role.Scope()}
	if role == grants.Owner || role == grants.Admin {
		scopes = append(scopes, "admin")
	}
	return identity.With(t.Context(), identity.Caller{ID: account, Type: identity.User, Namespace: namespace, Scopes: scopes})
}

var inviteLine = regexp.MustCompile(`micro namespace accept ([A-Z2-7]{26})`)

// invite invites somebody and reads the code in the mail.
func (b *bundle) invite(t *testing.T, by context.Context, email string, role grants.Role) (id, code string) {
	t.Helper()
	before := len(b.inbox.Messages(email))
	rsp, err := invites{Service: b.Service}.Create(by, &namespacespb.CreateInviteRequest{Email: email, Role: string(role)})
	if err != nil {
		t.Fatal(err)
	}
	m := inviteLine.FindStringSubmatch(b.letter(t, email, before+1))
	if m == nil {
		t.Fatal("no code in the mail")
	}
	return rsp.GetInvite().GetId(), m[1]
}

func (b *bundle) accept(ctx context.Context, code, password string) (*namespacespb.AcceptInviteResponse, error) {
	return invites{Service: b.Service}.Accept(ctx, &namespacespb.AcceptInviteRequest{Code: code, Password: password})
}

// join makes somebody who is new a member.
func (b *bundle) join(t *testing.T, by context.Context, email string, role grants.Role) {
	t.Helper()
	_, code := b.invite(t, by, email, role)
	if _, err := b.accept(t.Context(), code, "correct horse"); err != nil {
		t.Fatal(err)
	}
}

// roles answers who is what.
func (b *bundle) roles(t *testing.T, by context.Context) string {
	t.Helper()
	rsp, err := members{Service: b.Service}.List(by, &namespacespb.ListMembersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range rsp.GetMembers() {
		name, _, _ := strings.Cut(m.GetAccount(), "@")
		out = append(out, name+":"+m.GetRole())
	}
	return strings.Join(out, " ")
}

func TestInvite(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "olga@example.com", "acme")
	olga := person(t, "acme", "olga@example.com", grants.Owner)
	id, first := b.invite(t, olga, "dev@example.com", grants.Developer)
	if err := b.limits.Forget(t.Context(), inviteMinute("acme", "dev@example.com")); err != nil {
		t.Fatal(err)
	}
	if _, err := (invites{Service: b.Service}).Resend(olga, &namespacespb.ResendInviteRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	b.letter(t, "dev@example.com", 2)
	second := inviteLine.FindStringSubmatch(b.letter(t, "dev@example.com", 2))[1]
	if second == first { // the inbox has the newest first
		second = inviteLine.FindStringSubmatch(b.inbox.Messages("dev@example.com")[1].Text)[1]
	}
	if _, err := b.accept(t.Context(), first, "correct horse"); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("the code before: %v, want InvalidArgument", err)
	}
	if _, err := b.accept(t.Context(), second, "short"); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("short password: %v", err)
	}
	got, err := b.accept(t.Context(), strings.ToLower(second), "correct horse")
	if err != nil || got.GetNamespace() != "acme" || got.GetAccount() != "dev@example.com" || got.GetRole() != "developer" {
		t.Fatalf("Accept = %v, %v", got, err)
	}
	told := b.owners.told("dev@example.com")
	if told.GetRole() != "developer" || told.GetPasswordHash() == "" || told.GetMailbox() != "dev@example.com" {
		t.Errorf("auth was told %v", told)
	}
	if _, err := b.accept(t.Context(), second, "correct horse"); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("twice: %v, want InvalidArgument", err)
	}
	if n := b.rows(t, "member_orders"); n != 0 {
		t.Errorf("%d orders are left", n)
	}
	if _, err := (invites{Service: b.Service}).Create(olga, &namespacespb.CreateInviteRequest{Email: "dev@example.com", Role: "viewer"}); errors.Code(err) != codes.AlreadyExists {
		t.Errorf("invite a member: %v, want AlreadyExists", err)
	}
	// Revoked and expired ones are good for nothing.
	id, code := b.invite(t, olga, "eve@example.com", grants.Viewer)
	if _, err := (invites{Service: b.Service}).Revoke(olga, &namespacespb.RevokeInviteRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.accept(t.Context(), code, "correct horse"); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("revoked: %v, want InvalidArgument", err)
	}
	_, code = b.invite(t, olga, "late@example.com", grants.Viewer)
	if _, err := b.pool.Exec(t.Context(), `UPDATE namespaces.invites SET expires_at = now()`); err != nil {
		t.Fatal(err)
	}
	if _, err := b.accept(t.Context(), code, "correct horse"); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("expired: %v, want InvalidArgument", err)
	}
}

// A person who has an account needs its password, or its login; nobody else's
// login will do.
func TestAcceptAsSomebodyKnown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "olga@example.com", "acme")
	b.signup(t, "piet+work@example.com", "piets")
	olga := person(t, "acme", "olga@example.com", grants.Owner)
	_, code := b.invite(t, olga, "piet@example.com", grants.Admin)
	if _, err := b.accept(t.Context(), code, "wrong horse"); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("wrong password: %v", err)
	}
	if _, err := b.accept(olga, code, ""); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("with the login of another: %v", err)
	}
	piet := person(t, "piets", "piet+work@example.com", grants.Owner)
	got, err := b.accept(piet, code, "")
	if err != nil || got.GetAccount() != "piet+work@example.com" {
		t.Fatalf("Accept = %v, %v; want the account that he has", got, err)
	}
	list, err := b.List(piet, &namespacespb.ListNamespacesRequest{})
	if err != nil || len(list.GetMemberships()) != 2 || list.GetMemberships()[0].GetRole() != "admin" || !list.GetMemberships()[1].GetCurrent() {
		t.Errorf("List = %v, %v", list, err)
	}
}

// Of many who accept one invitation at once, one becomes a member.
func TestAcceptAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "olga@example.com", "acme")
	olga := person(t, "acme", "olga@example.com", grants.Owner)
	_, code := b.invite(t, olga, "dev@example.com", grants.Developer)
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() {
			_, err := b.accept(t.Context(), code, "correct horse")
			errs <- err
		}()
	}
	good := 0
	for range cap(errs) {
		switch err := <-errs; errors.Code(err) {
		case codes.OK:
			good++
		case codes.InvalidArgument:
		default:
			t.Error(err)
		}
	}
	if good != 1 || b.rows(t, "members") != 2 {
		t.Errorf("%d were told that they are members, there are %d", good, b.rows(t, "members"))
	}
}

// Two owners who remove each other at once: one remains, whoever it is.
func TestLastOwner(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "olga@example.com", "acme")
	olga := person(t, "acme", "olga@example.com", grants.Owner)
	api := members{Service: b.Service}
	for name, do := range map[string]func() error{
		"leave": func() error {
			_, err := api.Leave(olga, &namespacespb.LeaveRequest{Namespace: "acme"})
			return err
		},
		"remove": func() error {
			_, err := api.Remove(olga, &namespacespb.RemoveMemberRequest{Account: "olga@example.com"})
			return err
		},
		"step down": func() error {
			_, err := api.SetRole(olga, &namespacespb.SetRoleRequest{Account: "olga@example.com", Role: "admin"})
			return err
		},
	} {
		if err := do(); errors.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: %v, want FailedPrecondition", name, err)
		}
	}
	for i := range 5 {
		other := fmt.Sprintf("other%d@example.com", i)
		b.join(t, olga, other, grants.Owner)
		var both sync.WaitGroup
		for _, account := range []string{"olga@example.com", other} {
			both.Go(func() {
				_, err := api.Leave(person(t, "acme", account, grants.Owner), &namespacespb.LeaveRequest{Namespace: "acme"})
				if c := errors.Code(err); c != codes.OK && c != codes.FailedPrecondition {
					t.Error(err)
				}
			})
		}
		both.Wait()
		var owners int
		var owner string
		err := b.pool.QueryRow(t.Context(), `
			SELECT count(*), min(n.owner) FROM namespaces.members AS m JOIN namespaces.namespaces AS n USING (namespace)
			WHERE m.role = 'owner' AND m.account = n.owner`).Scan(&owners, &owner)
		if err != nil || owners != 1 {
			t.Fatalf("%d owners are named, %v", owners, err)
		}
		if owner != "olga@example.com" { // start again
			by := person(t, "acme", owner, grants.Owner)
			b.join(t, by, "olga@example.com", grants.Owner)
			if _, err := api.Leave(by, &namespacespb.LeaveRequest{Namespace: "acme"}); err != nil {
				t.Fatal(err)
			}
			if err := b.limits.Forget(t.Context(), inviteMinute("acme", "olga@example.com")); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestWhoManagesMembers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "olga@example.com", "acme")
	olga := person(t, "acme", "olga@example.com", grants.Owner)
	b.join(t, olga, "adam@example.com", grants.Admin)
	b.join(t, olga, "dev@example.com", grants.Developer)
	b.join(t, olga, "vera@example.com", grants.Viewer)
	b.signup(t, "eve@example.com", "evil")
	api := members{Service: b.Service}
	adam, dev := person(t, "acme", "adam@example.com", grants.Admin), person(t, "acme", "dev@example.com", grants.Developer)
	eve := person(t, "evil", "eve@example.com", grants.Owner)
	limited := identity.Caller{ID: "olga@example.com", Type: identity.User, Namespace: "acme", Scopes: []string{"admin"}, Grants: []grants.Grant{{Service: "*", Endpoint: "*", Write: true}}}
	for _, tt := range []struct {
		name          string
		by            context.Context
		account, role string
		want          codes.Code
	}{
		{"admin promotes", adam, "vera@example.com", "developer", codes.OK},
		{"admin makes an owner", adam, "vera@example.com", "owner", codes.PermissionDenied},
		{"admin changes an owner", adam, "olga@example.com", "viewer", codes.PermissionDenied},
		{"developer", dev, "vera@example.com", "viewer", codes.PermissionDenied},
		{"developer, nobody", dev, "nobody@example.com", "viewer", codes.PermissionDenied},
		{"nobody", adam, "nobody@example.com", "viewer", codes.NotFound},
		{"no role", adam, "vera@example.com", "king", codes.InvalidArgument},
		{"API token", identity.With(t.Context(), limited), "vera@example.com", "viewer", codes.PermissionDenied},
		{"a stranger, own namespace", eve, "vera@example.com", "viewer", codes.NotFound},
	} {
		if _, err := api.SetRole(tt.by, &namespacespb.SetRoleRequest{Account: tt.account, Role: tt.role}); errors.Code(err) != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := api.SetRole(eve, &namespacespb.SetRoleRequest{Namespace: "acme", Account: "vera@example.com", Role: "viewer"}); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := api.Remove(adam, &namespacespb.RemoveMemberRequest{Account: "dev@example.com"}); err != nil {
		t.Fatal(err)
	}
	if told := b.owners.told("dev@example.com"); told.GetRole() != "" {
		t.Errorf("auth was told %v", told)
	}
	if _, err := api.Transfer(olga, &namespacespb.TransferRequest{Account: "adam@example.com", Password: "wrong"}); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("transfer without the password: %v", err)
	}
	if _, err := api.Transfer(olga, &namespacespb.TransferRequest{Account: "adam@example.com", Password: "correct horse"}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.roles(t, olga), "adam:owner olga:admin vera:developer"; got != want {
		t.Errorf("members are %s, want %s", got, want)
	}
	if n, err := b.Get(olga, &namespacespb.GetRequest{}); err != nil || n.GetNamespace().GetOwner() != "adam@example.com" {
		t.Errorf("Get = %v, %v", n, err)
	}
}

// What auth could not be told at once is told later, in the last version only.
func TestOrdersSurvive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "olga@example.com", "acme")
	olga := person(t, "acme", "olga@example.com", grants.Owner)
	_, code := b.invite(t, olga, "dev@example.com", grants.Viewer)
	b.owners.answer(errors.New(codes.Unavailable, "away"), false)
	if _, err := b.accept(t.Context(), code, "correct horse"); errors.Code(err) != codes.Unavailable {
		t.Fatalf("Accept = %v, want Unavailable", err)
	}
	api := members{Service: b.Service}
	if _, err := api.SetRole(olga, &namespacespb.SetRoleRequest{Account: "dev@example.com", Role: "developer"}); errors.Code(err) != codes.Unavailable {
		t.Fatalf("SetRole = %v, want Unavailable", err)
	}
	b.owners.answer(nil, false)
	if _, err := b.pool.Exec(t.Context(), `UPDATE namespaces.member_orders SET next_at = now()`); err != nil {
		t.Fatal(err)
	}
	if err := b.carryOutDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	told := b.owners.told("dev@example.com")
	if told.GetRole() != "developer" || told.GetPasswordHash() == "" || len(b.owners.members) != 1 {
		t.Errorf("auth was told %v, %d orders", told, len(b.owners.members))
	}
	if n := b.rows(t, "member_orders"); n != 0 {
		t.Errorf("%d orders are left", n)
	}
}

func TestCreateNamespace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "olga@example.com", "acme")
	olga := person(t, "acme", "olga@example.com", grants.Owner)
	create := func(ctx context.Context, name string) error {
		_, err := b.Create(ctx, &namespacespb.CreateNamespaceRequest{Name: name})
		return err
	}
	for _, tt := range []struct {
		name string
		want codes.Code
	}{
		{"acme", codes.AlreadyExists}, {"A", codes.InvalidArgument}, {"admin", codes.InvalidArgument},
		{"olgas", codes.OK}, {"olgas-2", codes.OK}, {"olgas-3", codes.ResourceExhausted},
	} {
		if err := create(olga, tt.name); errors.Code(err) != tt.want {
			t.Errorf("Create(%q) = %v, want %v", tt.name, err, tt.want)
		}
	}
	if err := create(as(t, "acme"), "others"); errors.Code(err) != codes.FailedPrecondition {
		t.Errorf("an account that is nobody's: %v, want FailedPrecondition", err)
	}
	if told := b.owners.told("olga@example.com"); told.GetNamespace() != "olgas-2" || told.GetRole() != "owner" {
		t.Errorf("auth was told %v", told)
	}
	// Who is a member does not sign up again.
	b.another(t, "olga@example.com")
	if _, err := b.Begin(t.Context(), &namespacespb.BeginRequest{Email: "olga@example.com"}); err != nil {
		t.Fatal(err)
	}
	if text := b.letter(t, "olga@example.com", 2); !strings.Contains(text, "micro namespace create") {
		t.Errorf("the mail is\n%s", text)
	}
}

func TestConfigure(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "olga@example.com", "acme")
	olga := person(t, "acme", "olga@example.com", grants.Owner)
	b.join(t, olga, "adam@example.com", grants.Admin)
	adam := person(t, "acme", "adam@example.com", grants.Admin)
	req := &namespacespb.ConfigureRequest{RequireSecondFactor: true}
	if _, err := b.Configure(adam, req); errors.Code(err) != codes.PermissionDenied {
		t.Errorf("an admin: %v, want PermissionDenied", err)
	}
	if _, err := b.Configure(olga, req); err != nil {
		t.Fatal(err)
	}
	want := &authpb.SetPolicyRequest{Namespace: "acme", RequireSecondFactor: true}
	if len(b.owners.policies) != 1 || b.owners.policies[0].GetNamespace() != want.GetNamespace() || !b.owners.policies[0].GetRequireSecondFactor() {
		t.Errorf("auth was told %v", b.owners.policies)
	}
}

// The plan says how many members there may be, with those who are invited.
func TestMemberLimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "olga@example.com", "acme")
	if _, err := b.pool.Exec(t.Context(), `UPDATE namespaces.namespaces SET limits = '{"members": 2}'`); err != nil {
		t.Fatal(err)
	}
	olga := person(t, "acme", "olga@example.com", grants.Owner)
	_, code := b.invite(t, olga, "dev@example.com", grants.Developer)
	_, err := (invites{Service: b.Service}).Create(olga, &namespacespb.CreateInviteRequest{Email: "eve@example.com", Role: "viewer"})
	if errors.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "2 members") {
		t.Errorf("a third: %v, want ResourceExhausted", err)
	}
	if _, err := b.accept(t.Context(), code, "correct horse"); err != nil {
		t.Error(err)
	}
}
