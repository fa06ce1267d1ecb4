package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
)

// authenticator is a passkey in software, with the browser round it. Its fields
// may be set to what a forger would.
type authenticator struct {
	t       *testing.T
	key     *ecdsa.PrivateKey
	id      []byte
	handle  []byte
	uses    uint32
	origin  string
	rpID    string
	flags   byte
	respond string // the challenge that it answers, if not the one that it was given
}

const (
	present  = 1 << 0
	verified = 1 << 2 // by PIN or finger
	attested = 1 << 6
)

func newAuthenticator(t *testing.T) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &authenticator{t: t, key: key, id: []byte(rand.Text()), origin: consoleAddress, rpID: "localhost", flags: present | verified}
}

func text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// options is what it reads of them.
type options struct {
	Challenge string `json:"challenge"`
	User      struct {
		ID string `json:"id"`
	} `json:"user"`
}

func (a *authenticator) read(from string) options {
	a.t.Helper()
	var o options
	if err := json.Unmarshal([]byte(from), &o); err != nil {
		a.t.Fatal(err)
	}
	if a.respond != "" {
		o.Challenge = a.respond
	}
	return o
}

func (a *authenticator) client(kind, challenge string) []byte {
	return a.json(map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": false})
}

func (a *authenticator) json(v any) []byte {
	a.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

// data is what the authenticator signs.
func (a *authenticator) data(flags byte) []byte {
	a.uses++
	party := sha256.Sum256([]byte(a.rpID))
	return binary.BigEndian.AppendUint32(append(party[:], flags), a.uses)
}

// register answers navigator.credentials.create.
func (a *authenticator) register(from string) string {
	a.t.Helper()
	o := a.read(from)
	var err error
	if a.handle, err = base64.RawURLEncoding.DecodeString(o.User.ID); err != nil {
		a.t.Fatal(err)
	}
	point, err := a.key.PublicKey.Bytes()
	if err != nil {
		a.t.Fatal(err)
	}
	public := a.cbor(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	data := append(a.data(a.flags|attested), make([]byte, 16)...) // without a model
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.id)))
	data = append(append(data, a.id...), public...)
	object := a.cbor(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	return string(a.json(map[string]any{
		"id": text(a.id), "rawId": text(a.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{"clientDataJSON": text(a.client("webauthn.create", o.Challenge)), "attestationObject": text(object)},
	}))
}

func (a *authenticator) cbor(v any) []byte {
	a.t.Helper()
	b, err := webauthncbor.Marshal(v)
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

// login answers navigator.credentials.get.
func (a *authenticator) login(from string) string {
	a.t.Helper()
	client, data := a.client("webauthn.get", a.read(from).Challenge), a.data(a.flags)
	sum := sha256.Sum256(client)
	digest := sha256.Sum256(append(data[:len(data):len(data)], sum[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	if err != nil {
		a.t.Fatal(err)
	}
	return string(a.json(map[string]any{
		"id": text(a.id), "rawId": text(a.id), "type": "public-key", "clientExtensionResults": map[string]any{},
		"response": map[string]any{"clientDataJSON": text(client), "authenticatorData": text(data), "signature": text(signature), "userHandle": text(a.handle)},
	}))
}
