package provider

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// Login is who has signed in.
type Login struct {
	Subject string // for good, at the provider
	Email   string // verified by the provider
}

// Attempt is what a sign-in is bound to.
type Attempt struct {
	State    string
	Nonce    string
	Verifier string // of PKCE
}

// Provider is where people have an account.
type Provider interface {
	// URL answers where the browser goes.
	URL(ctx context.Context, a Attempt) (string, error)
	// Login takes the code that the browser came back with. The state has been
	// checked.
	Login(ctx context.Context, code string, a Attempt) (Login, error)
}

// Client is how the platform is known to a provider.
type Client struct {
	ID, Secret string
	// Redirect is where the browser comes back to, exactly as the provider has it.
	Redirect string
}

const (
	timeout = 10 * time.Second
	maxBody = 1 << 20
)

// newHTTP makes a client for a provider: what it answers has an end, and it
// sends nobody elsewhere.
func newHTTP() *http.Client {
	return &http.Client{
		Timeout:       timeout,
		Transport:     bounded{http.DefaultTransport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	rsp, err := b.next.RoundTrip(r)
	if err == nil {
		rsp.Body = http.MaxBytesReader(nil, rsp.Body, maxBody)
	}
	return rsp, err
}

// checkAddress wants TLS, except on this machine.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return fmt.Errorf("%q is no address", address)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("%q is not https", address)
}

// exchange spends a code.
func exchange(ctx context.Context, c oauth2.Config, client *http.Client, code string, a Attempt) (*oauth2.Token, error) {
	token, err := c.Exchange(context.WithValue(ctx, oauth2.HTTPClient, client), code, oauth2.VerifierOption(a.Verifier))
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response.StatusCode < http.StatusInternalServerError {
		return nil, failed(err)
	}
	if err != nil {
		return nil, away(err)
	}
	return token, nil
}

// failed is one answer for all that a provider's word can lack.
func failed(cause error) error {
	return errors.New(codes.InvalidArgument, "signing in has failed: begin again").Because(cause)
}

func away(cause error) error {
	return errors.New(codes.Unavailable, "the provider does not answer as it should: try again in a moment").Because(cause)
}

func unverified() error {
	return errors.New(codes.FailedPrecondition, "your account there has no email address that was verified: verify it there, then try again")
}

// drain reads a body to its end, so that the connection is used again.
func drain(body io.ReadCloser) {
	io.Copy(io.Discard, body) //nolint:errcheck // the connection is made anew then
	body.Close()
}
