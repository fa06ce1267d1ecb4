package archive

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"golang.org/x/crypto/scrypt"
)

// The costs of scrypt: 32 MiB, and three times the time of that. A reader takes
// no others: they may be a stranger's choice.
const (
	costN   = 1 << 15
	costR   = 8
	costP   = 3
	keySize = 32
)

// Sealed says how secrets are sealed: with AES-256-GCM, a key made from the
// passphrase by scrypt, the nonce first and the tag last. The additional data is
// the place of the secret: Value.Place, Service.Place.
type Sealed struct {
	Cipher string `json:"cipher"`
	KDF    string `json:"kdf"`
	N      int    `json:"n"`
	R      int    `json:"r"`
	P      int    `json:"p"`
	Salt   []byte `json:"salt"`
}

// NewSealed chooses a salt.
func NewSealed() *Sealed {
	salt := make([]byte, 16)
	rand.Read(salt)
	return &Sealed{Cipher: "AES-256-GCM", KDF: "scrypt", N: costN, R: costR, P: costP, Salt: salt}
}

// ErrPassphrase is a secret that does not open.
var ErrPassphrase = errors.New("the passphrase is not that of the archive")

// Sealer seals secrets, and opens them.
type Sealer struct{ aead *subtle.AESGCM }

// Sealer makes the key of a passphrase.
func (s Sealed) Sealer(passphrase string) (*Sealer, error) {
	if want := (Sealed{"AES-256-GCM", "scrypt", costN, costR, costP, s.Salt}); s.Cipher != want.Cipher || s.KDF != want.KDF || s.N != want.N || s.R != want.R || s.P != want.P || len(s.Salt) != 16 {
		return nil, errors.New("the archive's secrets are sealed in a way that this program does not know")
	}
	key, err := scrypt.Key([]byte(passphrase), s.Salt, costN, costR, costP, keySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	aead, err := subtle.NewAESGCM(key)
	if err != nil {
		return nil, fmt.Errorf("use key: %w", err)
	}
	return &Sealer{aead}, nil
}

// Seal seals the value of a secret for its place: it opens in no other.
func (s *Sealer) Seal(place, value string) ([]byte, error) {
	sealed, err := s.aead.Encrypt([]byte(value), []byte(place))
	if err != nil {
		return nil, fmt.Errorf("seal a secret: %w", err)
	}
	return sealed, nil
}

// Open answers the value of a secret, or ErrPassphrase.
func (s *Sealer) Open(place string, sealed []byte) (string, error) {
	value, err := s.aead.Decrypt(sealed, []byte(place))
	if err != nil {
		return "", ErrPassphrase
	}
	return string(value), nil
}
