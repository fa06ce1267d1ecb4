package gateway

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"

	authpb "github.com/micro/platform/proto/auth"
	"github.com/micro/platform/proxy/edge"
)

// keysPath is where RFC 7517 documents are looked for.
const keysPath = "/.well-known/jwks.json"

// keysAge is how long anybody may keep the answer, in seconds. A key is
// published for longer than that before it signs.
const keysAge = 300

// jwk is a public key as RFC 7517 and RFC 7518 write it.
type jwk struct {
	KeyID     string `json:"kid"`
	Type      string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	Modulus   string `json:"n"`
	Exponent  string `json:"e"`
}

// keys serves the public keys that access tokens are verified with.
func (g *Gateway) keys(w http.ResponseWriter, r *http.Request) {
	client := authpb.NewKeysClient(edge.Client{Edge: g.edge, Origin: originOf, Later: later})
	rsp, err := client.List(r.Context(), &authpb.ListKeysRequest{})
	if err != nil {
		writeError(w, err)
		return
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	for _, k := range rsp.GetKeys() {
		one, err := jwkOf(k)
		if err != nil {
			writeError(w, err)
			return
		}
		set.Keys = append(set.Keys, one)
	}
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", keysAge))
	write(w, http.StatusOK, encode(set))
}

func jwkOf(k *authpb.Key) (jwk, error) {
	parsed, err := x509.ParsePKIXPublicKey(k.GetDer())
	if err != nil {
		return jwk{}, fmt.Errorf("parse key %s: %w", k.GetId(), err)
	}
	public, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return jwk{}, fmt.Errorf("key %s is %T, not RSA", k.GetId(), parsed)
	}
	number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	return jwk{k.GetId(), "RSA", "sig", "RS256", number(public.N), number(big.NewInt(int64(public.E)))}, nil
}
