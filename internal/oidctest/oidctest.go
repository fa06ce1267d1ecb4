package oidctest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Client is the only one that is known.
const (
	Client = "platform"
	Secret = "client secret"
)

// Person is who is at the browser.
type Person struct {
	Subject  string
	ID       int64 // of GitHub
	Email    string
	Verified bool
}

// Server is an issuer at its URL.
type Server struct {
	URL string

	key *rsa.PrivateKey

	mu       sync.Mutex
	redirect string
	person   Person
	twist    func(map[string]any)
	codes    map[string]grant
}

// grant is what a code is good for, once.
type grant struct {
	person    Person
	nonce     string
	challenge string
}

// New starts a server that sends browsers back to an address.
func New(t testing.TB, redirect string) *Server {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{redirect: redirect, key: key, codes: map[string]grant{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", s.discovery)
	mux.HandleFunc("GET /keys", s.keys)
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("GET /login/oauth/authorize", s.authorize)
	mux.HandleFunc("POST /login/oauth/access_token", s.token)
	mux.HandleFunc("GET /api/v3/user", s.user)
	mux.HandleFunc("GET /api/v3/user/emails", s.emails)
	h := httptest.NewServer(mux)
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

// SendBack changes where browsers are sent back to.
func (s *Server) SendBack(redirect string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.redirect = redirect
}

// Be says who is at the browser from now on.
func (s *Server) Be(p Person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.person = p
}

// Twist changes the claims of tokens from now on.
func (s *Server) Twist(f func(map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.twist = f
}

// Visit goes where a browser is sent, and answers what it is sent back with.
func (s *Server) Visit(t testing.TB, address string) (state, code string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	rsp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	rsp.Body.Close()
	back, err := rsp.Location()
	if err != nil {
		t.Fatalf("%s: %s: %v", address, rsp.Status, err)
	}
	return back.Query().Get("state"), back.Query().Get("code")
}

func (s *Server) discovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{
		"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token", "jwks_uri": s.URL + "/keys",
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (s *Server) keys(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": encode(s.key.N.Bytes()), "e": encode(big.NewInt(int64(s.key.E)).Bytes()),
	}}})
}

// authorize lets whoever is at the browser in at once.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Get("client_id") != Client || q.Get("redirect_uri") != s.redirect || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" {
		http.Error(w, "unknown client, or an address that is not registered", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	s.codes[code] = grant{s.person, q.Get("nonce"), q.Get("code_challenge")}
	http.Redirect(w, r, s.redirect+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

// token spends a code.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	id, secret, basic := r.BasicAuth()
	if basic {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.codes[r.PostFormValue("code")]
	delete(s.codes, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || id != Client || secret != Secret || encode(sum[:]) != g.challenge || r.PostFormValue("redirect_uri") != s.redirect {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		w.Write([]byte(`{"error":"invalid_grant"}`)) //nolint:errcheck // the caller has gone
		return
	}
	now := time.Now()
	claims := map[string]any{
		"iss": s.URL, "aud": Client, "sub": g.person.Subject, "nonce": g.nonce, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"email": g.person.Email, "email_verified": g.person.Verified,
	}
	if s.twist != nil {
		s.twist(claims)
	}
	made := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(claims))
	made.Header["kid"] = "1"
	signed, err := made.SignedString(s.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 60, "id_token": signed})
}

func (s *Server) user(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer(w, map[string]any{"id": s.person.ID})
}

func (s *Server) emails(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer(w, []map[string]any{
		{"email": "other@example.com", "primary": false, "verified": true},
		{"email": s.person.Email, "primary": true, "verified": s.person.Verified},
	})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the caller has gone
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
