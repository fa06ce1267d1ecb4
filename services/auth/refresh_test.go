package auth

import (
	"bytes"
	"encoding/base64"
	"testing"

	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/settings"
)

func testKey(t testing.TB, secret settings.Secret) refreshKey {
	t.Helper()
	k, err := newRefreshKey(seal.Cluster{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRefreshToken(t *testing.T) {
	t.Parallel()
	key, session := testKey(t, "one"), newSession()
	token := key.token(session, 7)
	if id, generation, ok := key.open(token); !ok || generation != 7 || !bytes.Equal(id, session) {
		t.Errorf("open = %x, %d, %v", id, generation, ok)
	}
	if _, _, ok := testKey(t, "two").open(token); ok {
		t.Error("a token of another cluster opens")
	}
	both, err := newRefreshKey(seal.Cluster{Secret: "two", Also: "one"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := both.open(token); !ok {
		t.Error("a token does not open while its secret goes")
	}
	if _, _, ok := testKey(t, "two").open(both.token(session, 8)); !ok {
		t.Error("the secret that stays does not make the tokens")
	}
	raw, err := base64.RawURLEncoding.DecodeString(token[len(refreshPrefix):])
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw { // of session, generation and sum
		forged := bytes.Clone(raw)
		forged[i] ^= 1
		if _, _, ok := key.open(refreshPrefix + base64.RawURLEncoding.EncodeToString(forged)); ok {
			t.Errorf("opens with byte %d changed", i)
		}
	}
}

// FuzzOpen shows that only what the key made opens, in one form.
func FuzzOpen(f *testing.F) {
	key := testKey(f, "one")
	f.Add(key.token(make([]byte, sessionSize), 1))
	f.Add("")
	f.Add("mrt_")
	f.Fuzz(func(t *testing.T, token string) {
		if id, generation, ok := key.open(token); ok && key.token(id, generation) != token {
			t.Errorf("%q opens, and is not what the key makes of %x, %d", token, id, generation)
		}
	})
}
