package auth

import (
	"testing"

	authpb "github.com/micro/platform/proto/auth"
)

// BenchmarkFull compares a namespace that has one account with one that has
// 10,000 accounts and 1,000 API tokens: a service that starts, a login that is
// renewed, an API token that is exchanged.
func BenchmarkFull(b *testing.B) {
	for _, size := range []struct {
		name             string
		accounts, tokens int
	}{{"empty", 0, 0}, {"full", 10_000, 1_000}} {
		p := setup(b)
		secret := p.generate(b, &authpb.GenerateRequest{Id: "svc", Type: "service", Scopes: []string{"service"}}).GetSecret()
		token := p.login(b, "", p.owner, p.password)
		api := p.createToken(b, &authpb.CreateTokenRequest{Name: "bench", Grants: []string{"*:*:read"}}).GetSecret()
		p.fill(b, size.accounts, size.tokens)
		b.Run(size.name+"/start", func(b *testing.B) {
			for b.Loop() {
				p.login(b, p.namespace, "svc", secret)
			}
		})
		b.Run(size.name+"/renew", func(b *testing.B) {
			for b.Loop() {
				var err error
				if token, err = p.renew(b, token.GetRefreshToken()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(size.name+"/exchange", func(b *testing.B) {
			for b.Loop() {
				if _, err := p.components.Exchange(component(b), &authpb.ExchangeRequest{Token: api}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func (p *platform) fill(t testing.TB, accounts, tokens int) {
	t.Helper()
	const makeAccounts = `
		INSERT INTO auth.accounts (namespace, id, type, name, secret)
		SELECT $1, 'filler-' || n, 'user', 'filler-' || n, '' FROM generate_series(1, $2::int) n`
	const makeTokens = `
		INSERT INTO auth.api_tokens (namespace, id, account, name, hash, grants)
		SELECT $1, 'filler-' || n, $2, 'filler-' || n, sha256(('filler-' || n || $1)::bytea), '{*:*:read}' FROM generate_series(1, $3::int) n`
	if _, err := p.db.Exec(t.Context(), makeAccounts, p.namespace, accounts); err != nil {
		t.Fatal(err)
	}
	if _, err := p.db.Exec(t.Context(), makeTokens, p.namespace, p.owner, tokens); err != nil {
		t.Fatal(err)
	}
}

// TestFullNamespaceIsListed shows that what a namespace may have can be answered
// to clients that read 4 MiB at most.
func TestFullNamespaceIsListed(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.fill(t, 9_999, 1_000)
	ctx := p.asOwner(t)
	accounts, err := p.accounts.List(ctx, &authpb.ListAccountsRequest{})
	if err != nil || len(accounts.GetAccounts()) != 10_000 {
		t.Errorf("%d accounts, %v", len(accounts.GetAccounts()), err)
	}
	tokens, err := p.tokens.List(ctx, &authpb.ListTokensRequest{})
	if err != nil || len(tokens.GetTokens()) != 1_000 {
		t.Errorf("%d tokens, %v", len(tokens.GetTokens()), err)
	}
	if _, err := p.tokens.Create(ctx, &authpb.CreateTokenRequest{Name: "one too many", Grants: []string{"*:*:read"}}); err == nil {
		t.Error("a namespace has more API tokens than it may")
	}
}
