package handler

import (
	"context"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/config"
)

// Setting is a value of the configuration.
type Setting struct {
	Path   string `json:"path"`
	Value  string `json:"value"`
	Secret bool   `json:"secret"`
}

// Settings uses the configuration.
type Settings struct{}

// Get reads a setting, "none" when there is none.
func (*Settings) Get(ctx context.Context, req *Setting, rsp *Setting) error {
	v, err := config.Get(req.Path, config.Secret(req.Secret))
	if err != nil {
		return err
	}
	rsp.Path, rsp.Value = req.Path, v.String("none")
	return nil
}

// Set changes a setting.
func (*Settings) Set(ctx context.Context, req *Setting, rsp *Empty) error {
	return config.Set(req.Path, req.Value, config.Secret(req.Secret))
}

// Delete removes a setting.
func (*Settings) Delete(ctx context.Context, req *Setting, rsp *Empty) error {
	return config.Delete(req.Path)
}

// Account is somebody who may log in.
type Account struct {
	ID     string   `json:"id"`
	Secret string   `json:"secret"`
	Type   string   `json:"type"`
	Issuer string   `json:"issuer"`
	Scopes []string `json:"scopes"`
	Token  string   `json:"token"`
}

// Accounts uses auth.
type Accounts struct{}

// Create makes an account and logs it in.
func (*Accounts) Create(ctx context.Context, req *Account, rsp *Account) error {
	account, err := auth.Generate(req.ID, auth.WithSecret(req.Secret), auth.WithType("user"), auth.WithScopes(req.Scopes...))
	if err != nil {
		return err
	}
	token, err := auth.Token(auth.WithCredentials(account.ID, req.Secret))
	if err != nil {
		return err
	}
	rsp.ID, rsp.Type, rsp.Issuer, rsp.Scopes, rsp.Token = account.ID, account.Type, account.Issuer, account.Scopes, token.AccessToken
	return nil
}

// Inspect answers whose token it is.
func (*Accounts) Inspect(ctx context.Context, req *Account, rsp *Account) error {
	account, err := auth.Inspect(req.Token)
	if err != nil {
		return err
	}
	rsp.ID, rsp.Type, rsp.Issuer, rsp.Scopes = account.ID, account.Type, account.Issuer, account.Scopes
	return nil
}

// Rules answers the names of the rules.
func (*Accounts) Rules(ctx context.Context, req *Empty, rsp *Keys) error {
	rules, err := auth.Rules()
	if err != nil {
		return err
	}
	for _, r := range rules {
		rsp.Keys = append(rsp.Keys, r.ID)
	}
	return nil
}
