package provider

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// openID is an issuer of OpenID Connect.
type openID struct {
	issuer string
	client Client
	http   *http.Client
	now    func() time.Time
	found  atomic.Pointer[oidc.Provider] // once it has answered
}

// NewOpenID makes a Provider of an issuer, which need not be there yet.
func NewOpenID(issuer string, c Client, now func() time.Time) (Provider, error) {
	if err := checkAddress(issuer); err != nil {
		return nil, err
	}
	return &openID{issuer: issuer, client: c, http: newHTTP(), now: now}, nil
}

// discover asks the issuer where its endpoints and keys are.
func (p *openID) discover(ctx context.Context) (*oidc.Provider, error) {
	if found := p.found.Load(); found != nil {
		return found, nil
	}
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.http), p.issuer)
	if err != nil {
		return nil, away(err)
	}
	p.found.Store(found)
	return found, nil
}

func (p *openID) config(found *oidc.Provider) oauth2.Config {
	return oauth2.Config{ClientID: p.client.ID, ClientSecret: p.client.Secret, RedirectURL: p.client.Redirect,
		Endpoint: found.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "email"}}
}

// URL implements Provider.
func (p *openID) URL(ctx context.Context, a Attempt) (string, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	c := p.config(found)
	return c.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), nil
}

// Login implements Provider.
func (p *openID) Login(ctx context.Context, code string, a Attempt) (Login, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return Login{}, err
	}
	token, err := exchange(ctx, p.config(found), p.http, code, a)
	if err != nil {
		return Login{}, err
	}
	raw, _ := token.Extra("id_token").(string)
	verifier := found.Verifier(&oidc.Config{
		ClientID: p.client.ID, SupportedSigningAlgs: []string{oidc.RS256, oidc.ES256}, Now: p.now,
	})
	id, err := verifier.Verify(ctx, raw)
	if err != nil {
		return Login{}, failed(err)
	}
	return p.claims(id, a)
}

// verified is a claim that some issuers send as text.
type verified bool

// UnmarshalJSON implements json.Unmarshaler.
func (v *verified) UnmarshalJSON(b []byte) error {
	*v = verified(string(b) == "true" || string(b) == `"true"`)
	return nil
}

// claims reads a token that is the issuer's and meant for us.
func (p *openID) claims(id *oidc.IDToken, a Attempt) (Login, error) {
	var c struct {
		Email    string   `json:"email"`
		Verified verified `json:"email_verified"`
		Party    string   `json:"azp"`
	}
	if err := id.Claims(&c); err != nil {
		return Login{}, failed(err)
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.Nonce)) != 1:
		return Login{}, failed(fmt.Errorf("the nonce is another one"))
	case len(id.Audience) > 1 && c.Party != p.client.ID, c.Party != "" && !slices.Contains(id.Audience, c.Party):
		return Login{}, failed(fmt.Errorf("issued to %q", c.Party))
	case id.Subject == "":
		return Login{}, failed(fmt.Errorf("no subject"))
	case c.Email == "" || !bool(c.Verified):
		return Login{}, unverified()
	}
	return Login{Subject: id.Subject, Email: c.Email}, nil
}
