// Package auth says who is calling. An Account comes from the caller's signed
// token, checked with the platform's public keys; no other metadata is believed.
//
//	account, ok := auth.AccountFromContext(ctx)
//	if !ok {
//		return errors.Unauthorized("notes", "log in first")
//	}
package auth

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/micro/platform/framework/logger"
)

// Account is a verified caller.
type Account struct {
	// ID is unique in its namespace.
	ID string
	// Type is "user" for a person and "service" for a program.
	Type string
	// Issuer is the namespace that the account belongs to.
	Issuer string
	// Name is for people to read.
	Name string
	// Scopes are what the account was given, such as "admin".
	Scopes []string
	// Metadata is free text, set when the account was made.
	Metadata map[string]string
}

// HasScope says whether the account was given a scope.
func (a *Account) HasScope(scope string) bool { return slices.Contains(a.Scopes, scope) }

type accountKey struct{}

// caller answers the account of a context, once somebody asks for it.
type caller func() *Account

// AccountFromContext answers who made the call that is being handled, or false
// when nobody did whose token is good. The token is checked when this is first
// called, so services that never ask never pay for it.
func AccountFromContext(ctx context.Context) (*Account, bool) {
	find, ok := ctx.Value(accountKey{}).(caller)
	if !ok {
		return nil, false
	}
	account := find()
	return account, account != nil
}

// ContextWithAccount answers a context in which a handler finds the account:
// for tests.
func ContextWithAccount(ctx context.Context, account *Account) context.Context {
	return context.WithValue(ctx, accountKey{}, caller(func() *Account { return account }))
}

// fetchTimeout bounds the question for keys.
const fetchTimeout = 5 * time.Second

// Context answers a context whose account is that of a token. One that is not
// good, or cannot be checked, has none.
func (v *Verifier) Context(ctx context.Context, token string) context.Context {
	return context.WithValue(ctx, accountKey{}, caller(sync.OnceValue(func() *Account {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		account, err := v.Verify(ctx, token)
		if err != nil {
			logger.Default().Warn("the caller's token was not accepted", "error", err)
			return nil
		}
		return account
	})))
}
