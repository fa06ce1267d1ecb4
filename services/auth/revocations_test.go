package auth

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
	authpb "github.com/micro/platform/proto/auth"
)

// TestRevocationsOfServicesBecomeOne shows that a year of deployments does not
// pile up, and that exactly the services that are gone stay out.
func TestRevocationsOfServicesBecomeOne(t *testing.T) {
	t.Parallel()
	p := setup(t)
	svc, err := New(Stores{p.db, nil, nil}, p.verifier, seal.Cluster{Secret: pgtest.Secret}, slog.New(slog.DiscardHandler), Options{})
	if err != nil {
		t.Fatal(err)
	}
	token := func(id string) string {
		secret := p.generate(t, &authpb.GenerateRequest{Id: id, Type: "service", Scopes: []string{"service"}}).GetSecret()
		return p.login(t, p.namespace, id, secret).GetAccessToken()
	}
	gone := func(id string) {
		if _, err := p.accounts.Delete(p.asOwner(t), &authpb.DeleteAccountRequest{Id: id}); err != nil {
			t.Fatal(err)
		}
	}
	rows := func() (single, merged int) {
		const q = `SELECT (SELECT count(*) FROM auth.revocations), (SELECT count(*) FROM auth.gone_services)`
		if err := p.db.QueryRow(t.Context(), q).Scan(&single, &merged); err != nil {
			t.Fatal(err)
		}
		return single, merged
	}
	living, dead := []string{token("first")}, []string{}
	for round := range 2 {
		for i := range manyGone {
			id := fmt.Sprintf("svc-%d-%d", round, i)
			dead = append(dead, token(id))
			gone(id)
			if i%8 == 0 {
				living = append(living, token("living-"+id))
			}
		}
		if err := svc.mergeGone(t.Context()); err != nil {
			t.Fatal(err)
		}
		if single, _ := rows(); single != manyGone {
			t.Errorf("%d of %d fresh revocations are left", single, manyGone)
		}
		p.exec(t, `UPDATE auth.revocations SET revoked_at = now() - interval '2 hours'`)
		if err := svc.mergeGone(t.Context()); err != nil {
			t.Fatal(err)
		}
		if single, merged := rows(); single != 0 || merged != 1 {
			t.Errorf("%d single revocations and %d merged ones are left", single, merged)
		}
		for i, token := range dead {
			if !p.refused(t, token) {
				t.Errorf("round %d: service %d is gone, its token is good", round, i)
			}
		}
		for i, token := range living {
			if p.refused(t, token) {
				t.Errorf("round %d: service %d lives, its token is refused", round, i)
			}
		}
	}
	// What is merged can end, too, and a person is not a service.
	gone("first")
	eventually(t, "a service that lived is refused", func() bool { return p.refused(t, living[0]) })
	if p.refused(t, p.login(t, "", p.owner, p.password).GetAccessToken()) {
		t.Error("a person is refused")
	}
	// A process that starts now knows as much.
	later := setupAt(t, p.url, nil)
	for i, token := range append(dead, living[0]) {
		if !later.refused(t, token) {
			t.Errorf("another process takes the token of service %d", i)
		}
	}
	if later.refused(t, living[1]) {
		t.Error("another process refuses a service that lives")
	}
}
