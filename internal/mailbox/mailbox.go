package mailbox

import (
	"regexp"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// Address is an email address that was checked.
type Address struct {
	// Account is the address as it was typed, in lower case. It is where mail
	// goes and what a person logs in with.
	Account string
	// Mailbox is what its other spellings have in common: without a tag, and for
	// Gmail without dots. There is one person for each.
	Mailbox string
}

const (
	maxAddress = 254
	maxLocal   = 64
)

var (
	localRule  = regexp.MustCompile("^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$")
	domainRule = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$`)
)

// Parse takes one plain address of ASCII: no display name, no quotes, no
// comments, nothing that could end up as a second header of a mail.
func Parse(text string) (Address, error) {
	lower := strings.ToLower(strings.Trim(text, " "))
	local, domain, _ := strings.Cut(lower, "@")
	if len(lower) > maxAddress || len(local) > maxLocal || !localRule.MatchString(local) || !domainRule.MatchString(domain) {
		return Address{}, errors.New(codes.InvalidArgument, "enter a valid email address")
	}
	return Address{Account: lower, Mailbox: canonical(local, domain)}, nil
}

// IsDomain says whether a name, in lower case, is one that mail may go to.
func IsDomain(name string) bool { return domainRule.MatchString(name) }

func canonical(local, domain string) string {
	if name, _, tagged := strings.Cut(local, "+"); tagged && name != "" {
		local = name
	}
	if domain == "googlemail.com" {
		domain = "gmail.com"
	}
	if domain == "gmail.com" {
		local = strings.ReplaceAll(local, ".", "")
	}
	return local + "@" + domain
}

// Local is the part before the @, without a tag.
func (a Address) Local() string {
	local, _, _ := strings.Cut(a.Mailbox, "@")
	return local
}

// Domain is the part behind the @.
func (a Address) Domain() string {
	_, domain, _ := strings.Cut(a.Mailbox, "@")
	return domain
}
