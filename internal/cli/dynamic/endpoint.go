package dynamic

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	registrypb "github.com/micro/platform/proto/registry"
)

// Find answers the endpoint that the words after a service's name mean: one
// word is a method of the handler named like the service, two are a handler
// and a method.
func Find(s *registrypb.Service, words []string) (*registrypb.Endpoint, error) {
	var want string
	switch len(words) {
	case 1:
		want = title(s.GetName()) + "." + title(words[0])
	case 2:
		want = title(words[0]) + "." + title(words[1])
	default:
		return nil, fmt.Errorf("%q is more than a handler and a method: values are given as --name=value", strings.Join(words, " "))
	}
	for _, e := range s.GetEndpoints() {
		if e.GetName() == want {
			return e, nil
		}
	}
	if e := onlyMatch(s, words); e != nil {
		return e, nil
	}
	text := fmt.Sprintf("Endpoint %s not found for service %s", want, s.GetName())
	if known := Commands(s); len(known) > 0 {
		text += suggest("micro "+s.GetName()+" ", strings.Join(words, " "), known)
	}
	return nil, fmt.Errorf("%s", text)
}

// onlyMatch finds the one endpoint that is meant when upper case and hyphens do
// not count, or, for one word, the one method of that name in any handler.
func onlyMatch(s *registrypb.Service, words []string) *registrypb.Endpoint {
	if len(words) == 1 {
		if e := one(s, func(handler, method string) bool {
			return handler == plain(s.GetName()) && method == plain(words[0])
		}); e != nil {
			return e
		}
		return one(s, func(_, method string) bool { return method == plain(words[0]) })
	}
	return one(s, func(handler, method string) bool { return handler == plain(words[0]) && method == plain(words[1]) })
}

func one(s *registrypb.Service, match func(handler, method string) bool) *registrypb.Endpoint {
	var found *registrypb.Endpoint
	for _, e := range s.GetEndpoints() {
		handler, method, ok := strings.Cut(e.GetName(), ".")
		if ok && match(plain(handler), plain(method)) {
			if found != nil {
				return nil
			}
			found = e
		}
	}
	return found
}

func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// title puts the first letter of each part between hyphens in upper case.
func title(s string) string {
	first := true
	return strings.Map(func(r rune) rune {
		if first {
			r = unicode.ToUpper(r)
		}
		first = !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '\''
		return r
	}, s)
}

// Streams says whether an endpoint answers with a stream.
func Streams(e *registrypb.Endpoint) bool { return e.GetMetadata()["stream"] == "true" }

// Commands answers the words that mean each endpoint of a service, sorted.
func Commands(s *registrypb.Service) []string {
	var all []string
	for _, e := range s.GetEndpoints() {
		handler, method, ok := strings.Cut(e.GetName(), ".")
		switch {
		case !ok:
			all = append(all, lowerFirst(e.GetName()))
		case plain(handler) == plain(s.GetName()):
			all = append(all, lowerFirst(method))
		default:
			all = append(all, lowerFirst(handler)+" "+lowerFirst(method))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
