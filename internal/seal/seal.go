// Package seal encrypts the few secrets that a component keeps in its own
// tables, with a key derived from the cluster secret: AES-256-GCM under a key
// of the component's own (HKDF-SHA256, RFC 5869). The cluster secret can be
// exchanged: two of them open then, one seals, and a Column is what an operator
// seals anew.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
)

// Box seals for one component.
type Box struct {
	aeads []cipher.AEAD // the first seals, each opens
}

// New makes the box of a component.
func New(cluster Cluster, component string) (*Box, error) {
	keys, err := cluster.Keys("micro seal " + component)
	if err != nil {
		return nil, err
	}
	b := new(Box)
	for _, key := range keys {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		b.aeads = append(b.aeads, aead)
	}
	return b, nil
}

// Seal encrypts. owner is what the text belongs to, for instance
// "namespace/service"; it opens only under the same owner.
func (b *Box) Seal(text []byte, owner string) []byte {
	aead := b.aeads[0]
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, text, []byte(owner))
}

// ErrOpen is a sealed text of another owner, another cluster secret, or damaged.
var ErrOpen = errors.New("sealed text does not open: it is another owner's, or MICRO_CLUSTER_SECRET has changed")

// Open decrypts what Seal made, with either secret.
func (b *Box) Open(sealed []byte, owner string) ([]byte, error) {
	for _, aead := range b.aeads {
		n := aead.NonceSize()
		if len(sealed) < n {
			return nil, ErrOpen
		}
		if text, err := aead.Open(nil, sealed[:n], sealed[n:], []byte(owner)); err == nil {
			return text, nil
		}
	}
	return nil, ErrOpen
}

// Reseal seals a text with the secret that seals, if it is not already: nil says
// that it is.
func (b *Box) Reseal(sealed []byte, owner string) ([]byte, error) {
	if _, err := b.sealing().Open(sealed, owner); err == nil {
		return nil, nil
	}
	text, err := b.Open(sealed, owner)
	if err != nil {
		return nil, err
	}
	return b.Seal(text, owner), nil
}

// sealing is the box without the secret that only opens.
func (b *Box) sealing() *Box { return &Box{b.aeads[:1]} }
