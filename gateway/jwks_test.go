package gateway_test

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// TestKeySet verifies a token as a program would that knows nothing of Micro.
func TestKeySet(t *testing.T) {
	t.Parallel()
	e := start(t)
	status, header, body := e.do("GET", "/.well-known/jwks.json", "", "Authorization", "")
	if status != http.StatusOK || !strings.Contains(header.Get("Cache-Control"), "public, max-age=") || header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", status, header)
	}
	var set struct {
		Keys []struct{ Kid, Kty, Use, Alg, N, E string }
	}
	if err := json.Unmarshal([]byte(body), &set); err != nil || len(set.Keys) == 0 {
		t.Fatalf("%s: %v", body, err)
	}
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return new(big.Int).SetBytes(b)
	}
	_, err := jwt.Parse(e.token, func(token *jwt.Token) (any, error) {
		for _, k := range set.Keys {
			if k.Kid == token.Header["kid"] && k.Kty == "RSA" && k.Use == "sig" && k.Alg == "RS256" {
				return &rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())}, nil
			}
		}
		return nil, jwt.ErrTokenUnverifiable
	})
	if err != nil {
		t.Error(err)
	}
}
