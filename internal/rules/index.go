package rules

import (
	"strings"
	"unicode"
	"unicode/utf8"

	authpb "github.com/micro/platform/proto/auth"
)

// index finds the rules that may speak about a resource without looking at all
// of them. It holds positions in the order in which rules decide.
type index struct {
	exact  map[[2]string][]int // by name and endpoint
	named  map[string][]int    // by name; their endpoint is a pattern
	called map[string][]int    // by endpoint; their name is *
	rest   []int               // both are patterns
}

func newIndex(rules []*authpb.Rule) index {
	x := index{exact: map[[2]string][]int{}, named: map[string][]int{}, called: map[string][]int{}}
	for i, rule := range rules {
		r := rule.GetResource()
		name, endpoint := fold(r.GetName()), fold(r.GetEndpoint())
		anyName, anyEndpoint := name == "*", strings.HasSuffix(endpoint, "*")
		switch {
		case anyName && anyEndpoint:
			x.rest = append(x.rest, i)
		case anyName:
			x.called[endpoint] = append(x.called[endpoint], i)
		case anyEndpoint:
			x.named[name] = append(x.named[name], i)
		default:
			x.exact[[2]string{name, endpoint}] = append(x.exact[[2]string{name, endpoint}], i)
		}
	}
	return x
}

// candidates answers the positions of the rules that may speak about a
// resource, one after the other in their order.
func (x index) candidates(r Resource) candidates {
	name, endpoint := fold(r.Name), fold(r.Endpoint)
	return candidates{x.exact[[2]string{name, endpoint}], x.named[name], x.called[endpoint], x.rest}
}

// candidates are lists, each in order, that are read as one.
type candidates [4][]int

// next answers the first position of all and takes it away; false is the end.
func (c *candidates) next() (int, bool) {
	first := -1
	for i := range c {
		if len(c[i]) > 0 && (first < 0 || c[i][0] < c[first][0]) {
			first = i
		}
	}
	if first < 0 {
		return 0, false
	}
	at := c[first][0]
	c[first] = c[first][1:]
	return at, true
}

// fold answers one form for all that strings.EqualFold takes for equal.
func fold(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return strings.Map(least, s)
		}
	}
	return strings.ToLower(s)
}

// least is the smallest of the runes that are one but for case, and of ASCII's
// the lower one.
func least(r rune) rune {
	out := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		out = min(out, next)
	}
	return unicode.ToLower(out)
}
