package auth

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	authpb "github.com/micro/platform/proto/auth"
)

// keys is the platform's list of public keys.
type keys struct {
	authpb.KeysClient
	public map[string]*rsa.PublicKey
	err    error
	hold   chan struct{} // answers wait for it, if it is there

	asked atomic.Int32
}

func (k *keys) List(context.Context, *authpb.ListKeysRequest, ...grpc.CallOption) (*authpb.ListKeysResponse, error) {
	k.asked.Add(1)
	if k.hold != nil {
		<-k.hold
	}
	var rsp authpb.ListKeysResponse
	for id, key := range k.public {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return nil, err
		}
		rsp.Keys = append(rsp.Keys, &authpb.Key{Id: id, Der: der})
	}
	return &rsp, k.err
}

func newKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode(v any) string {
	b, ok := v.([]byte)
	if !ok {
		b, _ = json.Marshal(v)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func signed(key *rsa.PrivateKey, header, claims any) string {
	text := encode(header) + "." + encode(claims)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return text + "." + encode(signature)
}

// now is when these tests happen.
var now = time.Unix(1_800_000_000, 0)

func newVerifier(source *keys) *Verifier {
	v := NewVerifier(source)
	v.now = func() time.Time { return now }
	return v
}

type object map[string]any

func rs256(kid string) object { return object{"alg": "RS256", "typ": "JWT", "kid": kid} }

func claimsOf(id string, expires int64) object {
	return object{"sub": id, "iss": "demo", "exp": expires, "type": "user", "name": "Jane",
		"scopes": []string{"admin"}, "metadata": map[string]string{"email": "jane@example.com"}}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	key, other := newKey(t), newKey(t)
	later := now.Unix() + 1
	good := signed(key, rs256("k1"), claimsOf("jane", later))
	without := func(name string) object {
		c := claimsOf("jane", later)
		delete(c, name)
		return c
	}
	with := func(name string, value any) object {
		c := claimsOf("jane", later)
		c[name] = value
		return c
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	confused := encode(object{"alg": "HS256", "kid": "k1"}) + "." + encode(claimsOf("jane", later))
	mac := hmac.New(sha256.New, der)
	mac.Write([]byte(confused))
	parts := strings.Split(good, ".")

	for _, tt := range []struct {
		name, token string
		want        error
	}{
		{"good", good, nil},
		{"expires with a fraction", signed(key, rs256("k1"), with("exp", float64(later)+0.5)), nil},
		{"expired, within the leeway", signed(key, rs256("k1"), claimsOf("jane", now.Unix()-59)), nil},
		{"expired, the leeway too", signed(key, rs256("k1"), claimsOf("jane", now.Unix()-60)), ErrExpired},
		{"never expires", signed(key, rs256("k1"), without("exp")), ErrInvalid},
		{"from now on, by a clock within the leeway", signed(key, rs256("k1"), with("nbf", now.Unix()+60)), nil},
		{"not yet", signed(key, rs256("k1"), with("nbf", now.Unix()+61)), ErrInvalid},
		{"issued by a clock within the leeway", signed(key, rs256("k1"), with("iat", now.Unix()+60)), nil},
		{"issued in the future", signed(key, rs256("k1"), with("iat", now.Unix()+61)), ErrInvalid},
		{"nobody", signed(key, rs256("k1"), without("sub")), ErrInvalid},
		{"of no namespace", signed(key, rs256("k1"), without("iss")), ErrInvalid},
		{"wrong key", signed(other, rs256("k1"), claimsOf("jane", later)), ErrInvalid},
		{"unknown key", signed(other, rs256("k9"), claimsOf("jane", later)), ErrInvalid},
		{"no key id", signed(key, object{"alg": "RS256"}, claimsOf("jane", later)), ErrInvalid},
		{"alg none", encode(object{"alg": "none", "kid": "k1"}) + "." + encode(claimsOf("jane", later)) + ".", ErrInvalid},
		{"alg none, signed", signed(key, object{"alg": "none", "kid": "k1"}, claimsOf("jane", later)), ErrInvalid},
		{"HS256 with the public key", confused + "." + encode(mac.Sum(nil)), ErrInvalid},
		{"RS512", signed(key, object{"alg": "RS512", "kid": "k1"}, claimsOf("jane", later)), ErrInvalid},
		{"other claims", parts[0] + "." + encode(claimsOf("bob", later)) + "." + parts[2], ErrInvalid},
		{"no signature", parts[0] + "." + parts[1] + ".", ErrInvalid},
		{"two parts", parts[0] + "." + parts[1], ErrInvalid},
		{"four parts", good + ".x", ErrInvalid},
		{"padding", good + "=", ErrInvalid},
		{"empty", "", ErrInvalid},
		{"huge", strings.Repeat("x", 1<<20), ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			account, err := newVerifier(&keys{public: map[string]*rsa.PublicKey{"k1": &key.PublicKey}}).Verify(t.Context(), tt.token)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("Verify: %v, want %v", err, tt.want)
			}
			if err == nil && (account.ID != "jane" || account.Issuer != "demo" || account.Type != "user" || account.Name != "Jane" ||
				!account.HasScope("admin") || account.HasScope("service") || account.Metadata["email"] != "jane@example.com") {
				t.Errorf("account %+v", account)
			}
		})
	}
}

// TestKnownTokenExpires holds for a token that has been checked before.
func TestKnownTokenExpires(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	v := newVerifier(&keys{public: map[string]*rsa.PublicKey{"k1": &key.PublicKey}})
	token := signed(key, rs256("k1"), claimsOf("jane", now.Unix()+10))
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	v.now = func() time.Time { return now.Add(10*time.Second + leeway) }
	if _, err := v.Verify(t.Context(), token); err != ErrExpired {
		t.Errorf("got %v", err)
	}
}

// TestKeysAreFetchedWhenNeeded asks once, again for a new key, and not for each
// token that names one which does not exist.
func TestKeysAreFetchedWhenNeeded(t *testing.T) {
	t.Parallel()
	first, second := newKey(t), newKey(t)
	source := &keys{public: map[string]*rsa.PublicKey{"k1": &first.PublicKey}}
	v := newVerifier(source)
	clock := now
	v.now = func() time.Time { return clock }
	verify := func(key *rsa.PrivateKey, kid, id string) error {
		_, err := v.Verify(t.Context(), signed(key, rs256(kid), claimsOf(id, now.Unix()+3600)))
		return err
	}
	for _, id := range []string{"a", "b", "c"} {
		if err := verify(first, "k1", id); err != nil {
			t.Fatal(err)
		}
		if err := verify(second, "garbage", id); err != ErrInvalid {
			t.Fatalf("unknown key: %v", err)
		}
	}
	if n := source.asked.Load(); n != 1 {
		t.Errorf("asked %d times within a second", n)
	}
	source.public["k2"] = &second.PublicKey
	clock = clock.Add(refetch)
	if err := verify(second, "k2", "d"); err != nil {
		t.Errorf("a new key: %v", err)
	}
	source.err = errors.New("away")
	clock = clock.Add(refetch)
	if err := verify(second, "k3", "e"); err == nil || err == ErrInvalid {
		t.Errorf("keys not reachable: %v", err)
	}
	if err := verify(second, "k2", "f"); err != nil {
		t.Errorf("a key that is known, meanwhile: %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	v := newVerifier(&keys{})
	for i := range maxKnown + 10 {
		v.remember(sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)}), verified{&Account{}, "k1", now.Add(time.Hour)})
	}
	if len(v.known) > maxKnown {
		t.Errorf("remembers %d", len(v.known))
	}
}

// TestFullMemoryIsCheap shows that one token more does not cost a walk over all
// that are remembered: of the many that have expired it meets a few.
func TestFullMemoryIsCheap(t *testing.T) {
	t.Parallel()
	v := newVerifier(&keys{})
	for i := range maxKnown {
		v.remember(sha256.Sum256([]byte{byte(i), byte(i >> 8)}), verified{&Account{}, "k1", now.Add(-time.Second)})
	}
	v.remember(sha256.Sum256([]byte("one more")), verified{&Account{}, "k1", now.Add(time.Hour)})
	if n := len(v.known); n > maxKnown || n < maxKnown-100 {
		t.Errorf("remembers %d of %d", n, maxKnown)
	}
}

// TestKnownKeysDoNotWait shows that a question which hangs holds up only tokens
// of keys that are not known, and that those share it.
func TestKnownKeysDoNotWait(t *testing.T) {
	t.Parallel()
	first, second := newKey(t), newKey(t)
	source := &keys{public: map[string]*rsa.PublicKey{"k1": &first.PublicKey, "k2": &second.PublicKey}}
	v := newVerifier(source)
	if _, err := v.Verify(t.Context(), signed(first, rs256("k1"), claimsOf("a", now.Unix()+3600))); err != nil {
		t.Fatal(err)
	}
	v.keys.mu.Lock()
	delete(v.keys.keys, "k2") // as if it had come later
	v.keys.mu.Unlock()
	v.now = func() time.Time { return now.Add(refetch) }
	source.hold = make(chan struct{})
	waiting := signed(second, rs256("k2"), claimsOf("b", now.Unix()+3600))
	results := make(chan error, 10)
	for range cap(results) {
		go func() { _, err := v.Verify(t.Context(), waiting); results <- err }()
	}
	for source.asked.Load() < 2 {
		runtime.Gosched()
	}
	known := make(chan error)
	go func() {
		_, err := v.Verify(t.Context(), signed(first, rs256("k1"), claimsOf("c", now.Unix()+3600)))
		known <- err
	}()
	select {
	case err := <-known:
		if err != nil {
			t.Errorf("a known key: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("a token of a known key waits for a question about another")
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := v.Verify(gone, waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("who is gone: %v", err)
	}
	close(source.hold)
	for range cap(results) {
		if err := <-results; err != nil {
			t.Errorf("who waited: %v", err)
		}
	}
	if n := source.asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// TestRetiredKey shows that tokens of a key that the platform has withdrawn are
// refused after a while, those that were good before included.
func TestRetiredKey(t *testing.T) {
	t.Parallel()
	key, other := newKey(t), newKey(t)
	source := &keys{public: map[string]*rsa.PublicKey{"k1": &key.PublicKey}}
	v := newVerifier(source)
	token := signed(key, rs256("k1"), claimsOf("a", now.Unix()+3600))
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	source.public = map[string]*rsa.PublicKey{"k2": &other.PublicKey}
	v.now = func() time.Time { return now.Add(keepKeys) }
	for end := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		_, err := v.Verify(t.Context(), token)
		if err == ErrInvalid {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("Verify: %v, want %v", err, ErrInvalid)
		}
	}
}

func FuzzVerify(f *testing.F) {
	key := newKey(f)
	good := signed(key, rs256("k1"), claimsOf("jane", now.Unix()+1))
	v := newVerifier(&keys{public: map[string]*rsa.PublicKey{"k1": &key.PublicKey}})
	for _, seed := range []string{"", "..", "a.b.c", encode(rs256("k1")) + "." + encode(object{"exp": 1e300}) + ".", good} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := v.Verify(t.Context(), token); err == nil && token != good {
			t.Errorf("accepted %q", token)
		}
	})
}
