package namespaces

import (
	"bufio"
	_ "embed" // the list that is ours
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/mailbox"
)

//go:embed throwaway.txt
var ownThrowaway string

// domains are mail domains that nobody signs up with.
type domains map[string]bool

// readDomains reads the list in a file, or without one the list that is ours.
func readDomains(file string) (domains, error) {
	if file == "" {
		return parseDomains(strings.NewReader(ownThrowaway))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("MICRO_NAMESPACES_THROWAWAY_DOMAINS: %w", err)
	}
	defer f.Close()
	d, err := parseDomains(f)
	if err != nil {
		return nil, fmt.Errorf("MICRO_NAMESPACES_THROWAWAY_DOMAINS: %w", err)
	}
	return d, nil
}

func parseDomains(r io.Reader) (domains, error) {
	d := domains{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		domain := strings.ToLower(strings.TrimSpace(text))
		if domain == "" {
			continue
		}
		if !mailbox.IsDomain(domain) {
			return nil, fmt.Errorf("line %d: %q is no domain", n, errors.Clip(domain))
		}
		d[domain] = true
	}
	return d, lines.Err()
}

// check refuses an address of such a domain, or of one below it. It says the same
// whether the address has a namespace or not.
func (d domains) check(a mailbox.Address) error {
	for domain := a.Domain(); domain != ""; _, domain, _ = strings.Cut(domain, ".") {
		if d[domain] {
			return errors.New(codes.InvalidArgument, "addresses at %s are not accepted, since they are thrown away: sign up with one that lasts", a.Domain())
		}
	}
	return nil
}

// large are the providers whose mailboxes are strangers to each other. Mailboxes
// of any other domain may all be one person's.
var large = []string{
	"aol.com", "fastmail.com", "gmail.com", "gmx.de", "gmx.net", "hey.com", "hotmail.com", "icloud.com", "live.com", "mail.com", "mail.ru", "me.com",
	"msn.com", "naver.com", "orange.fr", "outlook.com", "pm.me", "posteo.de", "proton.me", "protonmail.com", "qq.com", "t-online.de", "web.de",
	"163.com", "126.com", "yahoo.com", "yandex.ru", "zoho.com",
}

func isLarge(domain string) bool { return slices.Contains(large, domain) }
