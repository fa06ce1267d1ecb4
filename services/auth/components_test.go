package auth

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	authpb "github.com/micro/platform/proto/auth"
)

func TestComponentToken(t *testing.T) {
	t.Parallel()
	p := setup(t)
	for _, secret := range []string{"", "wrong", pgtest.Secret + "x", strings.ToUpper(pgtest.Secret)} {
		if _, err := p.components.Token(t.Context(), &authpb.ComponentTokenRequest{Name: "edge", Secret: secret}); errors.Code(err) != codes.Unauthenticated {
			t.Errorf("Token with %q = %v", secret, err)
		}
	}
	rsp, err := p.components.Token(t.Context(), &authpb.ComponentTokenRequest{Name: "edge", Secret: pgtest.Secret})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.verifier.Verify(t.Context(), rsp.GetToken().GetAccessToken())
	if err != nil || !c.IsComponent() || c.ID != "edge" || c.Operator() {
		t.Errorf("Verify = %+v, %v", c, err)
	}
	if life := time.Until(c.Expires); life > time.Hour || life < 59*time.Minute {
		t.Errorf("lives %v", life)
	}
}

// TestOneKeySigns shows that processes that start at once sign with one key,
// and take each other's tokens.
func TestOneKeySigns(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	start := make(chan *platform)
	for range 2 {
		go func() { start <- setupAt(t, url, nil) }()
	}
	a, b := <-start, <-start
	rsp, err := a.keys.List(t.Context(), &authpb.ListKeysRequest{})
	if err != nil || len(rsp.GetKeys()) != 1 {
		t.Fatalf("List = %v, %v; want one key", rsp, err)
	}
	if _, err := x509.ParsePKIXPublicKey(rsp.GetKeys()[0].GetDer()); err != nil {
		t.Error(err)
	}
	token := a.login(t, "micro", "admin", adminPassword).GetAccessToken()
	if _, err := b.auth.Inspect(t.Context(), &authpb.InspectRequest{Token: token}); err != nil {
		t.Errorf("the other process refuses the token: %v", err)
	}
}

// feed is a stream of changes, read in the background.
type feed struct {
	changes chan *authpb.Change
	ended   chan error
}

func (p *platform) watch(t *testing.T) feed {
	t.Helper()
	ctx, cancel := context.WithCancel(component(t))
	stream, err := p.components.Watch(ctx, &authpb.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	f := feed{make(chan *authpb.Change, 10_000), make(chan error, 1)}
	go func() {
		for {
			c, err := stream.Recv()
			if err != nil {
				f.ended <- err
				return
			}
			f.changes <- c
		}
	}()
	t.Cleanup(func() { cancel(); <-f.ended })
	return f
}

// next waits for a change.
func (f feed) next(t *testing.T) *authpb.Change {
	t.Helper()
	select {
	case c := <-f.changes:
		return c
	case err := <-f.ended:
		f.ended <- err
		t.Fatal(err)
	case <-time.After(5 * time.Second):
		t.Fatal("no change came")
	}
	return nil
}

// snapshot reads up to ready.
func (f feed) snapshot(t *testing.T) []*authpb.Change {
	t.Helper()
	var out []*authpb.Change
	for {
		c := f.next(t)
		if c.GetReady() {
			return out
		}
		out = append(out, c)
	}
}

// TestWatch shows what an edge is told, also about what another process did.
func TestWatch(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	p, other := setupAt(t, url, nil), setupAt(t, url, map[string]string{"MICRO_AUTH_PUBLIC_PLATFORM": "true"})
	f := p.watch(t)
	if got := f.snapshot(t); len(got) != 1 || got[0].GetRules().GetNamespace() != identity.Platform || got[0].GetRules().GetRules()[0].GetScope() != "*" {
		t.Fatalf("snapshot = %v, want the platform's default only", got)
	}
	g := other.watch(t)
	if got := g.snapshot(t); len(got) != 1 || got[0].GetRules().GetRules()[0].GetScope() != "" {
		t.Errorf("snapshot = %v, want that the platform's namespace is public", got)
	}

	if _, err := other.rules.Create(p.asOwner(t), &authpb.CreateRequest{Rule: newRule("open", "", 1)}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []feed{f, g} {
		if set := f.next(t).GetRules(); set.GetNamespace() != p.namespace || len(set.GetRules()) != 2 || set.GetRules()[0].GetId() != "open" {
			t.Errorf("told %v, want both rules", set)
		}
	}
	p.generate(t, &authpb.GenerateRequest{Id: "bob", Secret: "password of bob"})
	token := p.login(t, p.namespace, "bob", "password of bob").GetAccessToken()
	if _, err := other.accounts.Delete(p.asOwner(t), &authpb.DeleteAccountRequest{Id: "bob"}); err != nil {
		t.Fatal(err)
	}
	r := f.next(t).GetRevocation()
	if r.GetNamespace() != p.namespace || r.GetAccount() != "bob" || r.GetEpoch() <= claims(t, token).Epoch {
		t.Errorf("told %v, want bob's tokens revoked", r)
	}
	if left := time.Until(time.Unix(r.GetExpires(), 0)); left < 15*time.Minute || left > 15*time.Minute+clocksDiffer {
		t.Errorf("the revocation is kept %v, want as long as a token lives", left)
	}

	// A new watcher has it all in its snapshot.
	if got := p.watch(t).snapshot(t); len(got) != 3 {
		t.Errorf("snapshot = %v, want the platform's rules, the namespace's and the revocation", got)
	}
	for _, id := range []string{"open", "default"} {
		if _, err := p.rules.Delete(p.asOwner(t), &authpb.DeleteRequest{Id: id}); err != nil {
			t.Fatal(err)
		}
	}
	g.next(t) // the revocation
	g.next(t) // without open
	if set := g.next(t).GetRules(); set.GetNamespace() != p.namespace || len(set.GetRules()) != 0 {
		t.Errorf("told %v, want that only the default is left", set)
	}
}

// TestWatchMissesNothing shows that every change that commits while a watcher
// joins is in its snapshot or comes after it.
func TestWatchMissesNothing(t *testing.T) {
	t.Parallel()
	p := setup(t)
	const n = 150
	done := make(chan error, 1)
	ctx := p.asOwner(t)
	go func() {
		for i := range n {
			if _, err := p.rules.Create(ctx, &authpb.CreateRequest{Rule: newRule(fmt.Sprint(i), "", 0)}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	var feeds []feed
	for range 20 {
		feeds = append(feeds, p.watch(t))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, f := range feeds {
		seen := 0
		for seen < n+1 {
			if set := f.next(t).GetRules(); set.GetNamespace() == p.namespace {
				if len(set.GetRules()) < seen {
					t.Fatalf("told %d rules after %d", len(set.GetRules()), seen)
				}
				seen = len(set.GetRules())
			}
		}
	}
}

// TestLostConnection shows that watchers are cut off when changes may have been
// missed, and that the next snapshot has them.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	p := setup(t)
	f := p.watch(t)
	f.snapshot(t)
	p.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND query LIKE 'LISTEN%'`)
	if _, err := p.rules.Create(p.asOwner(t), &authpb.CreateRequest{Rule: newRule("open", "", 1)}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-f.ended:
		f.ended <- err
		if errors.Code(err) != codes.Unavailable {
			t.Errorf("cut off with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("not cut off")
	}
	// A process that was back before the rule came hears of it a moment later.
	eventually(t, "the rules that were made meanwhile", func() bool { return len(p.watch(t).snapshot(t)) == 2 })
}

func TestWatchIsForComponents(t *testing.T) {
	t.Parallel()
	p := setup(t)
	for want, ctx := range map[codes.Code]context.Context{codes.Unauthenticated: t.Context(), codes.PermissionDenied: p.asOperator(t)} {
		stream, err := p.components.Watch(ctx, &authpb.WatchRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); errors.Code(err) != want {
			t.Errorf("Watch = %v, want %v", err, want)
		}
	}
}

// TestRevocationsExpire shows that what no longer matters is forgotten.
func TestRevocationsExpire(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "bob"})
	if _, err := p.accounts.Delete(p.asOwner(t), &authpb.DeleteAccountRequest{Id: "bob"}); err != nil {
		t.Fatal(err)
	}
	p.exec(t, `UPDATE auth.revocations SET expires_at = now() - interval '1 second'`)
	d := db{p.db}
	if err := d.prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := d.revocations(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	c := newChanges(d, nil, nil, false)
	c.feed.Replace(func() {
		c.revoked.Add(&authpb.Revocation{Namespace: "a", Account: "b", Epoch: 1, Expires: time.Now().Unix() - 1})
	})
	if err := c.prune(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if c.revoked.Len() != 0 || c.revoked.Revoked(identity.Caller{Namespace: "a", ID: "b"}) {
		t.Error("an expired revocation is kept")
	}
}
