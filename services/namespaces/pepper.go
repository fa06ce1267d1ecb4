package namespaces

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/micro/platform/internal/mailbox"
)

// pepper is what the digests need that is not in the database.
type pepper []byte

// pepperKey is its purpose.
const pepperKey = "micro namespaces codes"

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
