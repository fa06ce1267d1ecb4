package namespaces

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// nameRule makes a name safe in host names, in Docker and in paths.
var nameRule = regexp.MustCompile(`^[a-z][a-z0-9-]{1,29}[a-z0-9]$`)

const maxName = 31

// reserved are names of the platform, and names that hosts, mailboxes and
// people take for somebody in charge.
var reserved = []string{
	"abuse", "account", "accounts", "admin", "administrator", "alert", "all", "any", "anonymous", "api", "app", "apps", "assets", "auth",
	"billing", "blog", "broker", "builder", "cdn", "config", "console", "default", "dns", "docs", "events", "ftp", "gateway", "help",
	"hostmaster", "imap", "inbox", "internal", "local", "localhost", "login", "logs", "mail", "metrics", "micro", "namespace",
	"namespaces", "network", "noreply", "null", "operator", "owner", "platform", "pop", "postmaster", "proxy", "public", "registry",
	"root", "router", "runtime", "scheduler", "security", "service", "services", "signup", "smtp", "ssl", "staff", "static", "status",
	"store", "support", "system", "undefined", "usage", "user", "web", "webmaster", "www",
}

// checkName checks the name that a person has chosen.
func checkName(name string) error {
	switch {
	case !nameRule.MatchString(name) || strings.HasPrefix(name[2:], "--"): // xn--: another script in disguise
		return errors.New(codes.InvalidArgument,
			"namespace %q: 3 to %d lower-case letters, digits and hyphens, starting with a letter, no hyphen at the end", errors.Clip(name), maxName)
	case isReserved(name):
		return errors.New(codes.InvalidArgument, "namespace %q is reserved, choose another", name)
	}
	return nil
}

// isReserved is true for what looks reserved, too.
func isReserved(name string) bool {
	shape := skeleton(name)
	if slices.ContainsFunc(reserved, func(r string) bool { return skeleton(r) == shape }) {
		return true
	}
	return slices.ContainsFunc(strings.Split(name, "-"), func(part string) bool { return skeleton(part) == skeleton("micro") })
}

// lookAlikes turns what looks the same into the same.
var lookAlikes = strings.NewReplacer("-", "", "rn", "m", "vv", "w", "0", "o", "1", "l", "i", "l", "3", "e", "5", "s", "8", "b")

func skeleton(name string) string { return lookAlikes.Replace(name) }

// notName is what a name cannot hold.
var notName = regexp.MustCompile(`[^a-z0-9]+`)

// candidates are names made from a wish, best first. Some of them are made up,
// so that one is free whatever others have taken.
func candidates(wish string) []string {
	base := strings.Trim(notName.ReplaceAllString(strings.ToLower(wish), "-"), "-")
	if base == "" || base[0] < 'a' || base[0] > 'z' {
		base = "n" + base
	}
	const room = maxName - len("-space-abcd")
	base = strings.TrimRight(base[:min(len(base), room)], "-")
	if checkName(base) != nil {
		base += "-space"
	}
	if checkName(base) != nil {
		base = "space"
	}
	all := []string{base}
	for i := 2; i < 6; i++ {
		all = append(all, fmt.Sprintf("%s-%d", base, i))
	}
	for range 3 {
		all = append(all, base+"-"+strings.ToLower(rand.Text()[:4]))
	}
	return all
}
