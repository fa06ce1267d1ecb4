// Package seal encrypts the few secrets that a component keeps in its own
// tables, with a key derived from the cluster secret: AES-256-GCM under a key
// of the component's own (HKDF-SHA256, RFC 5869).
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// Box seals for one component.
type Box struct{ aead cipher.AEAD }

// New makes the box of a component.
func New(clusterSecret, component string) (*Box, error) {
	key, err := hkdf.Key(sha256.New, []byte(clusterSecret), nil, "micro seal "+component, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key of %s: %w", component, err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Box{aead}, nil
}

// Seal encrypts. owner is what the text belongs to, for instance
// "namespace/service"; it opens only under the same owner.
func (b *Box) Seal(text []byte, owner string) []byte {
	nonce := make([]byte, b.aead.NonceSize())
	rand.Read(nonce)
	return b.aead.Seal(nonce, nonce, text, []byte(owner))
}

// ErrOpen is a sealed text of another owner, another cluster secret, or damaged.
var ErrOpen = errors.New("sealed text does not open: it is another owner's, or MICRO_CLUSTER_SECRET has changed")

// Open decrypts what Seal made.
func (b *Box) Open(sealed []byte, owner string) ([]byte, error) {
	n := b.aead.NonceSize()
	if len(sealed) < n {
		return nil, ErrOpen
	}
	text, err := b.aead.Open(nil, sealed[:n], sealed[n:], []byte(owner))
	if err != nil {
		return nil, ErrOpen
	}
	return text, nil
}
