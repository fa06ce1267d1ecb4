package namespaces

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"

	"github.com/micro/platform/internal/mailbox"
	"github.com/micro/platform/internal/settings"
)

// codeLength is in characters of base 32: 40 bits, for five attempts.
const codeLength = 8

// newCode makes a code of capital letters and the digits 2 to 7, so that no 0
// or 1 is taken for a letter.
func newCode() string { return rand.Text()[:codeLength] }

var codeRule = regexp.MustCompile(fmt.Sprintf(`^[A-Z2-7]{%d}$`, codeLength))

// readable undoes what people do to a code when they type it.
var readable = strings.NewReplacer(" ", "", "-", "", "0", "O", "1", "I")

// parseCode answers a code as it was sent, or false.
func parseCode(typed string) (string, bool) {
	if len(typed) > 4*codeLength {
		return "", false
	}
	code := readable.Replace(strings.ToUpper(typed))
	return code, codeRule.MatchString(code)
}

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
