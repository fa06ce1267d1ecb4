package seal

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"github.com/micro/platform/internal/settings"
)

// Cluster is the secrets of a cluster. Secret seals and is shown to others; Also,
// which is empty but while one is exchanged for the other, only opens what was
// sealed with it and is accepted from those who show it.
type Cluster struct{ Secret, Also settings.Secret }

// Accepts says whether somebody who shows a secret belongs to the cluster.
func (c Cluster) Accepts(shown string) bool {
	// Sums have one length, so that comparing tells nothing of the secret's.
	got := sha256.Sum256([]byte(shown))
	accepted := 0
	for _, secret := range c.all() {
		want := sha256.Sum256([]byte(secret.Reveal()))
		accepted |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return accepted == 1
}

// Keys derives the keys for one purpose, of 32 bytes: the one that makes things,
// and behind it that of Also, if there is one.
func (c Cluster) Keys(purpose string) ([][]byte, error) {
	var keys [][]byte
	for _, secret := range c.all() {
		key, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, purpose, sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive key of %s: %w", purpose, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (c Cluster) all() []settings.Secret {
	if c.Also == "" {
		return []settings.Secret{c.Secret}
	}
	return []settings.Secret{c.Secret, c.Also}
}
