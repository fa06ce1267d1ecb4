package seal

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Keys is a set of keys that can be exchanged: a new one seals, and the old ones
// still open, until nothing is left that they have sealed. Every sealed text
// says which key it wants.
type Keys struct {
	handle *keyset.Handle
	aead   tink.AEAD
}

// NewKeys makes a set of one key.
func NewKeys() (*Keys, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make key set: %w", err)
	}
	return newKeys(h)
}

func newKeys(h *keyset.Handle) (*Keys, error) {
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("use key set: %w", err)
	}
	return &Keys{h, a}, nil
}

// OpenKeys reads what SealKeys made.
func (b *Box) OpenKeys(sealed []byte) (*Keys, error) {
	h, err := keyset.Read(keyset.NewBinaryReader(bytes.NewReader(sealed)), boxAEAD{b})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOpen, err)
	}
	return newKeys(h)
}

// SealKeys writes a set so that it can be kept.
func (b *Box) SealKeys(k *Keys) ([]byte, error) {
	var out bytes.Buffer
	if err := k.handle.Write(keyset.NewBinaryWriter(&out), boxAEAD{b}); err != nil {
		return nil, fmt.Errorf("seal key set: %w", err)
	}
	return out.Bytes(), nil
}

// ResealKeys is Reseal of what SealKeys made.
func (b *Box) ResealKeys(sealed []byte, _ string) ([]byte, error) {
	if _, err := b.sealing().OpenKeys(sealed); err == nil {
		return nil, nil
	}
	keys, err := b.OpenKeys(sealed)
	if err != nil {
		return nil, err
	}
	return b.SealKeys(keys)
}

// boxAEAD is a Box as Tink wants it.
type boxAEAD struct{ box *Box }

func (a boxAEAD) Encrypt(text, owner []byte) ([]byte, error) {
	return a.box.Seal(text, string(owner)), nil
}

func (a boxAEAD) Decrypt(sealed, owner []byte) ([]byte, error) {
	return a.box.Open(sealed, string(owner))
}

// Seal encrypts with the newest key. owner is as in Box.
func (k *Keys) Seal(text []byte, owner string) ([]byte, error) {
	return k.aead.Encrypt(text, []byte(owner))
}

// Open decrypts what any key of the set has sealed.
func (k *Keys) Open(sealed []byte, owner string) ([]byte, error) {
	text, err := k.aead.Decrypt(sealed, []byte(owner))
	if err != nil {
		return nil, ErrOpen
	}
	return text, nil
}

// Add answers a set with a new key, which seals from now on.
func (k *Keys) Add() (*Keys, error) {
	m := keyset.NewManagerFromHandle(k.handle)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("add key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("use new key: %w", err)
	}
	return fromManager(m)
}

// Newest answers a set of nothing but the key that seals.
func (k *Keys) Newest() (*Keys, error) {
	m := keyset.NewManagerFromHandle(k.handle)
	primary := k.handle.KeysetInfo().GetPrimaryKeyId()
	for _, key := range k.handle.KeysetInfo().GetKeyInfo() {
		if key.GetKeyId() == primary {
			continue
		}
		if err := m.Delete(key.GetKeyId()); err != nil {
			return nil, fmt.Errorf("remove key: %w", err)
		}
	}
	return fromManager(m)
}

func fromManager(m *keyset.Manager) (*Keys, error) {
	h, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("change key set: %w", err)
	}
	return newKeys(h)
}

// Len answers how many keys there are.
func (k *Keys) Len() int { return k.handle.Len() }

// Sealed says whether a text was sealed with the newest key. Tink's prefix is a
// 1 and the number of the key.
func (k *Keys) Sealed(sealed []byte) bool {
	return len(sealed) > prefixSize && sealed[0] == 1 &&
		binary.BigEndian.Uint32(sealed[1:prefixSize]) == k.handle.KeysetInfo().GetPrimaryKeyId()
}

const prefixSize = 5
