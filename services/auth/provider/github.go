package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/oauth2"
)

// gitHub is GitHub, or a GitHub Enterprise Server. It has OAuth 2.0 only: who
// signed in is asked from its API.
type gitHub struct {
	config oauth2.Config
	api    string
	http   *http.Client
}

// GitHub is where most have their account.
const GitHub = "https://github.com"

// NewGitHub makes a Provider of GitHub at an address.
func NewGitHub(address string, c Client) (Provider, error) {
	if err := checkAddress(address); err != nil {
		return nil, err
	}
	address = strings.TrimSuffix(address, "/")
	api := address + "/api/v3"
	if address == GitHub {
		api = "https://api.github.com"
	}
	return &gitHub{api: api, http: newHTTP(), config: oauth2.Config{
		ClientID: c.ID, ClientSecret: c.Secret, RedirectURL: c.Redirect, Scopes: []string{"user:email"},
		Endpoint: oauth2.Endpoint{AuthURL: address + "/login/oauth/authorize", TokenURL: address + "/login/oauth/access_token", AuthStyle: oauth2.AuthStyleInParams},
	}}, nil
}

// URL implements Provider.
func (p *gitHub) URL(_ context.Context, a Attempt) (string, error) {
	return p.config.AuthCodeURL(a.State, oauth2.S256ChallengeOption(a.Verifier)), nil
}

// Login implements Provider.
func (p *gitHub) Login(ctx context.Context, code string, a Attempt) (Login, error) {
	token, err := exchange(ctx, p.config, p.http, code, a)
	if err != nil {
		return Login{}, err
	}
	var user struct {
		ID int64 `json:"id"`
	}
	if err := p.get(ctx, token, "/user", &user); err != nil {
		return Login{}, err
	}
	if user.ID == 0 {
		return Login{}, failed(fmt.Errorf("no id"))
	}
	var addresses []struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	if err := p.get(ctx, token, "/user/emails", &addresses); err != nil {
		return Login{}, err
	}
	for _, x := range addresses {
		if x.Primary && x.Verified && x.Email != "" {
			return Login{Subject: strconv.FormatInt(user.ID, 10), Email: x.Email}, nil
		}
	}
	return Login{}, unverified()
}

func (p *gitHub) get(ctx context.Context, token *oauth2.Token, path string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.api+path, nil)
	if err != nil {
		return err
	}
	token.SetAuthHeader(r)
	r.Header.Set("Accept", "application/vnd.github+json")
	rsp, err := p.http.Do(r)
	if err != nil {
		return away(err)
	}
	defer drain(rsp.Body)
	if rsp.StatusCode != http.StatusOK {
		return away(fmt.Errorf("%s: %s", path, rsp.Status))
	}
	if err := json.NewDecoder(rsp.Body).Decode(into); err != nil {
		return away(err)
	}
	return nil
}
