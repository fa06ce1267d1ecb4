package namespaces

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"github.com/micro/platform/internal/mailbox"
	"github.com/micro/platform/internal/settings"
)

// pepper is what the digests need that is not in the database.
type pepper []byte

func newPepper(cluster settings.Secret) (pepper, error) {
	key, err := hkdf.Key(sha256.New, []byte(cluster.Reveal()), nil, "micro namespaces codes", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive pepper: %w", err)
	}
	return key, nil
}

// digest is what is kept of a code. It is good for the address it was sent to,
// not for another spelling of it: that may be somebody else's.
func (p pepper) digest(a mailbox.Address, code string) []byte {
	return p.sum(a.Account + "\x00" + code)
}

// sum hides what a name stands for.
func (p pepper) sum(text string) []byte {
	mac := hmac.New(sha256.New, p)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
