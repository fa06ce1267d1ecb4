package identity

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"

	authpb "github.com/micro/platform/proto/auth"
)

// issuer signs tokens, as auth does.
type issuer struct {
	authpb.KeysClient
	id      string
	private *rsa.PrivateKey

	mu    sync.Mutex
	asked int
	err   error
}

var shared = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })

func newKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

func (i *issuer) List(context.Context, *authpb.ListKeysRequest, ...grpc.CallOption) (*authpb.ListKeysResponse, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	der, err := x509.MarshalPKIXPublicKey(&i.private.PublicKey)
	if err != nil {
		return nil, err
	}
	return &authpb.ListKeysResponse{Keys: []*authpb.Key{{Id: i.id, Der: der}}}, i.err
}

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func setup(t testing.TB) (*issuer, *Verifier, *clock) {
	t.Helper()
	i := &issuer{id: "key-1", private: shared()}
	c := &clock{t: time.Unix(1_800_000_000, 0)}
	return i, NewVerifier(NewKeySet(i, c.now), c.now), c
}

// good is the claims of a token that is accepted.
func good(now time.Time) Claims {
	return Claims{
		RegisteredClaims: jwt.RegisteredClaims{Issuer: "acme", Subject: "alice", ID: "1",
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Minute))},
		Type: User, Scopes: []string{"admin"}, Metadata: map[string]string{"a": "b"}, Name: "Alice", Epoch: 3,
	}
}

func sign(t testing.TB, method jwt.SigningMethod, key any, kid any, claims jwt.Claims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	if kid != nil {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// raw signs a header and a payload as they are.
func raw(t testing.TB, key *rsa.PrivateKey, header, payload string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sig, err := jwt.SigningMethodRS256.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func TestVerify(t *testing.T) {
	t.Parallel()
	i, v, clock := setup(t)
	token := sign(t, jwt.SigningMethodRS256, i.private, i.id, good(clock.now()))
	for range 2 { // parsed, then remembered
		c, err := v.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if c.ID != "alice" || c.Name != "Alice" || c.Namespace != "acme" || c.Type != User || !c.Admin() || c.Epoch != 3 ||
			c.KeyID != i.id || c.Token != token || !c.Issued.Equal(clock.now()) || c.Metadata["a"] != "b" {
			t.Errorf("Verify = %+v", c)
		}
	}
	clock.forward(59*time.Second + Leeway)
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("a second before its end and the leeway: %v", err)
	}
	clock.forward(time.Second)
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrExpired) {
		t.Errorf("remembered, at its end and the leeway: %v, want %v", err, ErrExpired)
	}
}

// TestForged is tokens that somebody else made, or changed. None is accepted,
// and all answers are the same two.
func TestForged(t *testing.T) {
	t.Parallel()
	i, v, clock := setup(t)
	now := clock.now()
	public, err := x509.MarshalPKIXPublicKey(&i.private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	other := newKey(2048)
	rs := jwt.SigningMethodRS256
	valid := sign(t, rs, i.private, i.id, good(now))
	parts := strings.Split(valid, ".")
	change := func(f func(*Claims)) string {
		c := good(now)
		f(&c)
		return sign(t, rs, i.private, i.id, c)
	}
	body := func(more string) string {
		return raw(t, i.private, `{"alg":"RS256","kid":"key-1"}`, `{"iss":"acme","sub":"alice"`+more+`}`)
	}
	header := func(h string) string {
		b, err := json.Marshal(good(now))
		if err != nil {
			t.Fatal(err)
		}
		return raw(t, i.private, h, string(b))
	}
	operator := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"micro","sub":"admin","type":"user","scopes":["admin"],"exp":1900000000}`))

	for name, token := range map[string]string{
		"empty":                    "",
		"no dots":                  "token",
		"dots only":                "..",
		"two parts":                parts[0] + "." + parts[1],
		"four parts":               valid + ".x",
		"no signature":             parts[0] + "." + parts[1] + ".",
		"no claims":                parts[0] + ".." + parts[2],
		"no header":                "." + parts[1] + "." + parts[2],
		"cut":                      valid[:len(valid)-1],
		"cut in half":              valid[:len(valid)/2],
		"longer":                   valid + "A",
		"space before":             " " + valid,
		"new line after":           valid + "\n",
		"line break inside":        valid[:len(valid)-4] + "\r" + valid[len(valid)-4:],
		"unused bits of the end":   valid[:len(valid)-1] + string(valid[len(valid)-1]+1),
		"padded":                   valid + "==",
		"signature of other bytes": parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 256)),
		"claims changed":           parts[0] + "." + operator + "." + parts[2],
		"1 MB":                     parts[0] + "." + strings.Repeat("A", 1<<20) + "." + parts[2],
		"1 MB of dots":             strings.Repeat(".", 1<<20),
		"not base64":               "!!!.???.###",

		"alg none":             sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, i.id, good(now)),
		"alg none, signed":     header(`{"alg":"none","kid":"key-1"}`),
		"alg None":             header(`{"alg":"None","kid":"key-1"}`),
		"alg empty":            header(`{"alg":"","kid":"key-1"}`),
		"alg missing":          header(`{"kid":"key-1"}`),
		"alg rs256":            header(`{"alg":"rs256","kid":"key-1"}`),
		"alg a number":         header(`{"alg":256,"kid":"key-1"}`),
		"alg a list":           header(`{"alg":["RS256"],"kid":"key-1"}`),
		"HS256 with the DER":   sign(t, jwt.SigningMethodHS256, public, i.id, good(now)),
		"HS256 with the PEM":   sign(t, jwt.SigningMethodHS256, publicPEM, i.id, good(now)),
		"HS256 without secret": sign(t, jwt.SigningMethodHS256, []byte{}, i.id, good(now)),
		"HS512 with the PEM":   sign(t, jwt.SigningMethodHS512, publicPEM, i.id, good(now)),
		"RS384":                sign(t, jwt.SigningMethodRS384, i.private, i.id, good(now)),
		"RS512":                sign(t, jwt.SigningMethodRS512, i.private, i.id, good(now)),
		"PS256":                sign(t, jwt.SigningMethodPS256, i.private, i.id, good(now)),

		"another's key":          sign(t, rs, other, i.id, good(now)),
		"another's key and id":   sign(t, rs, other, "key-2", good(now)),
		"a short key":            sign(t, rs, newKey(1024), i.id, good(now)),
		"kid unknown":            sign(t, rs, i.private, "key-2", good(now)),
		"kid missing":            sign(t, rs, i.private, nil, good(now)),
		"kid empty":              sign(t, rs, i.private, "", good(now)),
		"kid a path":             sign(t, rs, other, "../../key-1", good(now)),
		"kid an SQL statement":   sign(t, rs, other, "' OR '1'='1", good(now)),
		"kid a number":           sign(t, rs, i.private, 1, good(now)),
		"kid a list":             sign(t, rs, i.private, []string{"key-1"}, good(now)),
		"kid null":               header(`{"alg":"RS256","kid":null}`),
		"kid in other case":      sign(t, rs, i.private, "KEY-1", good(now)),
		"key in the header":      raw(t, other, `{"alg":"RS256","jwk":{"kty":"RSA","n":"AQAB","e":"AQAB"}}`, `{"iss":"acme","sub":"alice","exp":1900000000}`),
		"address of a key":       raw(t, other, `{"alg":"RS256","jku":"https://example.com/keys","kid":"key-9"}`, `{"iss":"acme","sub":"alice","exp":1900000000}`),
		"certificate in header":  raw(t, other, `{"alg":"RS256","x5c":["MIIB"]}`, `{"iss":"acme","sub":"alice","exp":1900000000}`),
		"header is a list":       header(`[]`),
		"header is not JSON":     header(`{"alg"`),
		"header null":            header(`null`),
		"claims are a list":      raw(t, i.private, `{"alg":"RS256","kid":"key-1"}`, `[]`),
		"claims are not JSON":    raw(t, i.private, `{"alg":"RS256","kid":"key-1"}`, `{`),
		"claims null":            raw(t, i.private, `{"alg":"RS256","kid":"key-1"}`, `null`),
		"claims then more":       raw(t, i.private, `{"alg":"RS256","kid":"key-1"}`, `{"iss":"acme","sub":"alice","exp":1900000000}{}`),
		"exp missing":            body(``),
		"exp null":               body(`,"exp":null`),
		"exp zero":               body(`,"exp":0`),
		"exp negative":           body(`,"exp":-1`),
		"exp a string":           body(`,"exp":"never"`),
		"exp an object":          body(`,"exp":{}`),
		"exp huge":               body(`,"exp":1e400`),
		"nbf in the future":      body(`,"exp":1900000000,"nbf":1899999999`),
		"no issuer":              change(func(c *Claims) { c.Issuer = "" }),
		"no subject":             change(func(c *Claims) { c.Subject = "" }),
		"issuer a list":          raw(t, i.private, `{"alg":"RS256","kid":"key-1"}`, `{"iss":["acme"],"sub":"alice","exp":1900000000}`),
		"scopes a string":        body(`,"exp":1900000000,"scopes":"admin"`),
		"metadata with a number": body(`,"exp":1900000000,"metadata":{"a":1}`),
	} {
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrExpired) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
	for name, ago := range map[string]time.Duration{"by a second": Leeway + time.Second, "by a year": 8760 * time.Hour, "this instant": Leeway} {
		token := change(func(c *Claims) { c.ExpiresAt = jwt.NewNumericDate(now.Add(-ago)) })
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrExpired) {
			t.Errorf("expired %s: %v, want %v", name, err, ErrExpired)
		}
	}
	if len(v.known) != 0 {
		t.Errorf("%d bad tokens are remembered", len(v.known))
	}
}

// TestClocksDiffer shows that a token is good from Leeway before it was issued up
// to Leeway after its end, to the second, and what is said of one from the future.
func TestClocksDiffer(t *testing.T) {
	t.Parallel()
	issued := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		name  string
		ahead time.Duration // the clock here
		want  error
	}{
		{"a day behind", -24 * time.Hour, ErrEarly},
		{"five minutes behind", -5 * time.Minute, ErrEarly},
		{"the leeway and a second behind", -Leeway - time.Second, ErrEarly},
		{"the leeway behind", -Leeway, nil},
		{"a second behind", -time.Second, nil},
		{"a second ahead", time.Second, nil},
		{"short of the leeway ahead of the end", time.Minute + Leeway - time.Second, nil},
		{"the leeway ahead of the end", time.Minute + Leeway, ErrExpired},
		{"a day ahead", 24 * time.Hour, ErrExpired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i, v, clock := setup(t)
			claims := good(issued)
			sent := []string{sign(t, jwt.SigningMethodRS256, i.private, i.id, claims)}
			claims.IssuedAt, claims.NotBefore = nil, claims.IssuedAt
			sent = append(sent, sign(t, jwt.SigningMethodRS256, i.private, i.id, claims))
			clock.forward(issued.Add(tt.ahead).Sub(clock.now()))
			for _, token := range sent {
				_, err := v.Verify(t.Context(), token)
				if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("Verify = %v, want %v", err, tt.want)
				}
				if early := errors.Is(err, ErrEarly); early && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "a clock is off: the token counts from 2027-01-15T08:00:00Z on")) {
					t.Errorf("Verify = %v", err)
				}
			}
		})
	}
}

// TestKeysAreFetchedSeldom shows that garbage cannot make work for auth.
func TestKeysAreFetchedSeldom(t *testing.T) {
	t.Parallel()
	i, v, clock := setup(t)
	valid := sign(t, jwt.SigningMethodRS256, i.private, i.id, good(clock.now()))
	unknown := sign(t, jwt.SigningMethodRS256, i.private, "key-2", good(clock.now()))
	if _, err := v.Verify(t.Context(), valid); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := v.Verify(t.Context(), unknown); err != ErrInvalid {
			t.Fatal(err)
		}
	}
	if i.asked != 1 {
		t.Errorf("keys were fetched %d times, want once", i.asked)
	}
	i.id = "key-2" // published since
	clock.forward(refetch)
	if _, err := v.Verify(t.Context(), unknown); err != nil {
		t.Errorf("with a new key: %v", err)
	}
}

// TestAuthAway shows that a token that cannot be checked is not called bad.
func TestAuthAway(t *testing.T) {
	t.Parallel()
	i, v, clock := setup(t)
	i.err = errors.New("away")
	token := sign(t, jwt.SigningMethodRS256, i.private, i.id, good(clock.now()))
	if _, err := v.Verify(t.Context(), token); err == nil || err == ErrInvalid || err == ErrExpired {
		t.Errorf("Verify = %v, want another error", err)
	}
	i.err = nil
	clock.forward(retry)
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("when auth is back: %v", err)
	}
}

func TestRevocations(t *testing.T) {
	t.Parallel()
	r, now := NewRevocations(), time.Unix(1_800_000_000, 0)
	soon := now.Add(time.Minute).Unix()
	r.Add(&authpb.Revocation{Namespace: "acme", Account: "alice", Epoch: 5, Expires: soon})
	r.Add(&authpb.Revocation{Namespace: "acme", Account: "alice", Epoch: 4, Expires: soon}) // an older one, late
	r.Add(&authpb.Revocation{Namespace: "acme", Session: "s1", Expires: soon})
	r.Add(&authpb.Revocation{Namespace: "acme", Account: "notes-1", Epoch: 12, Expires: soon, Service: true})
	r.Add(&authpb.Revocation{Namespace: "acme", Epoch: 20, Living: []int64{14}, Expires: soon})
	for _, tt := range []struct {
		c    Caller
		want bool
	}{
		{Caller{Namespace: "acme", ID: "alice", Epoch: 4}, true},
		{Caller{Namespace: "acme", ID: "alice", Epoch: 5}, false},
		{Caller{Namespace: "acme", ID: "alice", Epoch: 6}, false},
		{Caller{Namespace: "acme", ID: "bob", Epoch: 1}, false},
		{Caller{Namespace: "other", ID: "alice", Epoch: 1}, false},
		{Caller{Namespace: "acme", ID: "bob", Epoch: 1, Session: "s1"}, true},
		{Caller{Namespace: "acme", ID: "bob", Epoch: 1, Session: "s2"}, false},
		{Caller{Namespace: "other", ID: "bob", Epoch: 1, Session: "s1"}, false},
		{Caller{Namespace: "acme", ID: "notes-1", Epoch: 11, Type: Service}, true},
		{Caller{Namespace: "acme", ID: "notes-2", Epoch: 14, Type: Service}, false},
		{Caller{Namespace: "acme", ID: "notes-2", Epoch: 13, Type: Service}, true}, // its secret has changed
		{Caller{Namespace: "acme", ID: "notes-3", Epoch: 20, Type: Service}, false},
		{Caller{Namespace: "acme", ID: "bob", Epoch: 13, Type: User}, false},
		{Caller{Namespace: "other", ID: "notes-1", Epoch: 11, Type: Service}, false},
	} {
		if got := r.Revoked(tt.c); got != tt.want {
			t.Errorf("Revoked(%+v) = %v", tt.c, got)
		}
	}
	if got := r.Len(); got != 3 {
		t.Errorf("%d revocations are kept, want 3: one stands for those of services", got)
	}
	r.Add(&authpb.Revocation{Namespace: Platform, Account: "runtime", Epoch: 9, Expires: soon})
	if r.Revoked(Caller{Namespace: Platform, ID: "runtime", Type: Component}) {
		t.Error("a component is revoked by an account of the same name")
	}
	r.Prune(now.Add(2 * time.Minute))
	if r.Revoked(Caller{Namespace: "acme", ID: "alice"}) {
		t.Error("kept after the last token has expired")
	}
}

// FuzzVerify shows that nothing but a signed token is accepted, and that nothing
// makes the verifier panic.
func FuzzVerify(f *testing.F) {
	i, v, clock := setup(f)
	valid := sign(f, jwt.SigningMethodRS256, i.private, i.id, good(clock.now()))
	parts := strings.Split(valid, ".")
	f.Add(valid[:len(valid)-1])
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0." + parts[1] + ".")
	f.Fuzz(func(t *testing.T, token string) {
		_, err := v.Verify(t.Context(), token)
		if token != valid && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrExpired) {
			t.Errorf("Verify(%q) = %v", token, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	i, v, clock := setup(b)
	token := sign(b, jwt.SigningMethodRS256, i.private, i.id, good(clock.now()))
	b.Run("known", func(b *testing.B) {
		for b.Loop() {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			if _, err := v.parse(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
