package namespaces

import (
	"regexp"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// address is an email address that was checked.
type address struct {
	// account is the address as it was typed, in lower case. It is where mail
	// goes and what a person logs in with.
	account string
	// mailbox is what its other spellings have in common: without a tag, and for
	// Gmail without dots. There is one namespace for each.
	mailbox string
}

const (
	maxAddress = 254
	maxLocal   = 64
)

var (
	localRule  = regexp.MustCompile("^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$")
	domainRule = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$`)
)

// parseAddress takes one plain address of ASCII: no display name, no quotes, no
// comments, nothing that could end up as a second header of a mail.
func parseAddress(text string) (address, error) {
	lower := strings.ToLower(strings.Trim(text, " "))
	local, domain, _ := strings.Cut(lower, "@")
	if len(lower) > maxAddress || len(local) > maxLocal || !localRule.MatchString(local) || !domainRule.MatchString(domain) {
		return address{}, errors.New(codes.InvalidArgument, "enter a valid email address")
	}
	return address{account: lower, mailbox: mailbox(local, domain)}, nil
}

func mailbox(local, domain string) string {
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

// local is the part before the @, without a tag.
func (a address) local() string {
	local, _, _ := strings.Cut(a.mailbox, "@")
	return local
}
