package passcode

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"strings"
)

// Length is in characters of base 32, together 40 bits: few guesses must be
// allowed.
const Length = 8

// rule: capital letters and the digits 2 to 7, so that no 0 or 1 is taken for a
// letter.
var rule = regexp.MustCompile(fmt.Sprintf(`^[A-Z2-7]{%d}$`, Length))

// New makes a code.
func New() string { return rand.Text()[:Length] }

// readable undoes what people do to a code when they type it.
var readable = strings.NewReplacer(" ", "", "-", "", "0", "O", "1", "I")

// Parse answers a code as New made it. It is false for what New never makes: that
// is no guess but a slip of the hand.
func Parse(typed string) (code string, ok bool) {
	if len(typed) > 4*Length {
		return "", false
	}
	code = readable.Replace(strings.ToUpper(typed))
	if !rule.MatchString(code) {
		return "", false
	}
	return code, true
}
