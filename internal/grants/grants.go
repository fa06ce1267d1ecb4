package grants

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/micro/platform/internal/reserved"
)

// Grant allows calls of some endpoints.
type Grant struct {
	// Service is a name, or "*" for all: the platform's and the tenant's own.
	Service string
	// Endpoint is a name such as "Notes.List", "Notes.*", or "*".
	Endpoint string
	// Write allows what changes state, too.
	Write bool
}

// maxPart bounds the name of a service or an endpoint.
const maxPart = 256

// Parse reads a grant. The error is for the person who wrote it.
func Parse(text string) (Grant, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return Grant{}, fmt.Errorf("a grant is service:endpoint:access, such as notes:*:read")
	}
	g := Grant{Service: parts[0], Endpoint: parts[1]}
	switch parts[2] {
	case "read":
	case "write":
		g.Write = true
	default:
		return Grant{}, fmt.Errorf("the access of a grant is read or write")
	}
	if !isName(g.Service) || g.Service != "*" && strings.Contains(g.Service, "*") {
		return Grant{}, fmt.Errorf("the service of a grant is a name or *")
	}
	if !isName(g.Endpoint) || strings.Contains(strings.TrimSuffix(g.Endpoint, ".*"), "*") && g.Endpoint != "*" {
		return Grant{}, fmt.Errorf("the endpoint of a grant is a name such as Notes.List, or Notes.*, or *")
	}
	return g, nil
}

func isName(s string) bool {
	bad := func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }
	return len(s) > 0 && len(s) <= maxPart && utf8.ValidString(s) && !strings.ContainsFunc(s, bad)
}

// ParseAll reads the grants of a token.
func ParseAll(texts []string) ([]Grant, error) {
	list := make([]Grant, 0, len(texts))
	for _, text := range texts {
		g, err := Parse(text)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

// String writes a grant as Parse reads it.
func (g Grant) String() string {
	access := "read"
	if g.Write {
		access = "write"
	}
	return g.Service + ":" + g.Endpoint + ":" + access
}

// Texts writes grants as ParseAll reads them.
func Texts(list []Grant) []string {
	texts := make([]string, len(list))
	for i, g := range list {
		texts[i] = g.String()
	}
	return texts
}

// Meet is what both lists allow.
func Meet(a, b []Grant) []Grant {
	out := []Grant{}
	for _, x := range a {
		for _, y := range b {
			service, ok := narrower(x.Service, y.Service)
			if !ok {
				continue
			}
			endpoint, ok := narrower(x.Endpoint, y.Endpoint)
			if !ok {
				continue
			}
			if g := (Grant{service, endpoint, x.Write && y.Write}); !slices.Contains(out, g) {
				out = append(out, g)
			}
		}
	}
	return out
}

// narrower answers the narrower of two patterns, or false if nothing matches
// both.
func narrower(a, b string) (string, bool) {
	switch {
	case a == "*" || strings.EqualFold(a, b):
		return b, true
	case b == "*" || below(b, a):
		return a, true
	case below(a, b):
		return b, true
	}
	return "", false
}

// below says whether a pattern such as "Notes.*" matches a name or pattern.
func below(pattern, name string) bool {
	handler, ok := strings.CutSuffix(pattern, "*") // "Notes."
	return ok && len(name) > len(handler) && strings.EqualFold(handler, name[:len(handler)])
}

// Allow says whether one of the grants allows a call. What is open to
// everybody is allowed without any.
func Allow(list []Grant, service, endpoint string) bool {
	kind := kindOf(service, endpoint)
	if kind == open {
		return true
	}
	for _, g := range list {
		if g.matches(service, endpoint) && (g.Write || kind == read) {
			return true
		}
	}
	return false
}

// secrets is the endpoint of config that a grant names to have secrets read in
// plain. It is none that can be called.
const secrets = "Secrets"

// Secrets says whether one of the grants lets the secrets of the configuration
// be read in plain: one of writing there, or one that names them, which is
// config:Secrets:read. One of reading everything does not.
func Secrets(list []Grant) bool {
	return slices.ContainsFunc(list, func(g Grant) bool {
		return g.Write && g.matches("config", "Config.Get") || strings.EqualFold(g.Endpoint, secrets) && g.matches("config", secrets)
	})
}

// Reads says whether access "read" is enough for an endpoint.
func Reads(service, endpoint string) bool { return kindOf(service, endpoint) != write }

// OnlyReads says whether an endpoint changes nothing, so that a call of it may be
// made again. What everybody may call is not meant: a login makes a session.
func OnlyReads(service, endpoint string) bool { return kindOf(service, endpoint) == read }

// matches compares without regard to case, as rules do.
func (g Grant) matches(service, endpoint string) bool {
	if g.Service != "*" && !strings.EqualFold(g.Service, service) {
		return false
	}
	if g.Endpoint == "*" || strings.EqualFold(g.Endpoint, endpoint) {
		return true
	}
	return below(g.Endpoint, endpoint)
}

// kind is what an endpoint does.
type kind int

const (
	write kind = iota // what is not known to be harmless
	read
	open // everybody may, also without an account
)

func kindOf(service, endpoint string) kind {
	if reserved.Service(strings.ToLower(service)) {
		return platform[strings.ToLower(service+" "+endpoint)]
	}
	_, method, ok := cutLast(endpoint, ".")
	if !ok {
		return write // a path: it does not say what it does
	}
	for _, verb := range verbs {
		if rest, ok := strings.CutPrefix(method, verb); ok && !startsLower(rest) {
			return read
		}
	}
	return write
}

// startsLower tells "Listen" from "List" and "ListAll".
func startsLower(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsLower(r)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}
