package auth

import (
	"fmt"
	"maps"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pgtest"
	authpb "github.com/micro/platform/proto/auth"
)

// erase calls Erase until it is done, and answers how often.
func (p *platform) erase(t *testing.T, namespace string) (calls int) {
	t.Helper()
	for calls = 1; ; calls++ {
		rsp, err := p.components.Erase(component(t), &authpb.EraseRequest{Namespace: namespace})
		if err != nil || calls > 20 {
			t.Fatalf("call %d: %v", calls, err)
		}
		if rsp.GetDone() {
			return calls
		}
	}
}

// TestErase removes a namespace in parts, with the people who are nowhere else,
// and refuses the tokens that are about, also when the name is taken again.
func TestErase(t *testing.T) {
	t.Parallel()
	p := setup(t)
	other := p.namespace + "-b"
	p.setMember(t, other, "viewer", 1) // the owner stays a person
	_, err := p.db.Exec(t.Context(), `INSERT INTO auth.people (mailbox, secret) VALUES ('zoe@example.com', 'x')`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.components.SetMember(component(t), &authpb.SetMemberRequest{Namespace: p.namespace, Account: "zoe@example.com", Mailbox: "zoe@example.com", Role: "viewer", Version: 2}); err != nil {
		t.Fatal(err)
	}
	token := p.login(t, p.namespace, p.owner, p.password)
	stays := p.login(t, other, p.owner, p.password)
	secret := p.createToken(t, &authpb.CreateTokenRequest{Name: "ci", Grants: []string{"store:*:read"}}).GetSecret()
	const services = erasePage + 7
	for i := range services {
		p.exec(t, fmt.Sprintf(`INSERT INTO auth.accounts (namespace, id, type, name, secret) VALUES ('%s', 's%d', 'service', 's%d', 'x')`, p.namespace, i, i))
	}
	p.exec(t, fmt.Sprintf(`INSERT INTO auth.rules (namespace, id, scope, type, name, endpoint, access, priority) VALUES ('%s', 'r', '', 'service', 'a', 'b', 1, 0)`, p.namespace))
	if _, err := p.components.SetPolicy(component(t), &authpb.SetPolicyRequest{Namespace: p.namespace, RequireSecondFactor: false, Version: 3}); err != nil {
		t.Fatal(err)
	}
	before := pgtest.Rows(t, p.db, "auth", other)

	for who, ctx := range map[string]func() error{
		"an owner": func() error {
			_, err := p.components.Erase(p.asOwner(t), &authpb.EraseRequest{Namespace: p.namespace})
			return err
		},
		"an operator": func() error {
			_, err := p.components.Erase(p.asOperator(t), &authpb.EraseRequest{Namespace: p.namespace})
			return err
		},
	} {
		if err := ctx(); errors.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v, want PermissionDenied", who, err)
		}
	}
	if calls := p.erase(t, p.namespace); calls < 2 {
		t.Errorf("%d calls for %d accounts, want parts", calls, services)
	}
	if got := pgtest.Rows(t, p.db, "auth", p.namespace); !maps.Equal(got, map[string]int{"erased": 1}) {
		t.Errorf("left: %v, want that it was erased", got)
	}
	if got := pgtest.Rows(t, p.db, "auth", other); !maps.Equal(got, before) {
		t.Errorf("the other namespace has %v, had %v", got, before)
	}
	var people []string
	if err := p.db.QueryRow(t.Context(), `SELECT array_agg(mailbox ORDER BY mailbox) FROM auth.people`).Scan(&people); err != nil {
		t.Fatal(err)
	}
	if len(people) != 1 || people[0] != p.owner {
		t.Errorf("people %v, want who has an account elsewhere", people)
	}
	eventually(t, "the token is refused", func() bool { return p.refused(t, token.GetAccessToken()) })
	if _, err := p.exchange(t, secret); errors.Code(err) != codes.Unauthenticated {
		t.Errorf("the API token: %v, want Unauthenticated", err)
	}
	if p.refused(t, stays.GetAccessToken()) {
		t.Error("the token of the other namespace is refused")
	}

	// Somebody else takes the name.
	if _, err := p.components.SetMember(component(t), &authpb.SetMemberRequest{Namespace: p.namespace, Account: p.owner, Mailbox: p.owner, Role: "owner", Version: 9}); err != nil {
		t.Fatal(err)
	}
	fresh := p.login(t, p.namespace, p.owner, p.password)
	if p.refused(t, fresh.GetAccessToken()) {
		t.Error("a token of the new namespace is refused")
	}
	if !p.refused(t, token.GetAccessToken()) {
		t.Error("a token of the namespace before is good in the new one")
	}
}
