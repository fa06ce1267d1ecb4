package clientgen

import (
	"go/token"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// words splits a name at everything that is neither letter nor digit, and where
// lower case turns to upper case.
func words(name string) []string {
	var all []string
	var word []rune
	end := func() {
		if len(word) > 0 {
			all = append(all, string(word))
		}
		word = nil
	}
	lower := false
	for _, r := range name {
		plain := r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r))
		if !plain || lower && unicode.IsUpper(r) {
			end()
		}
		if plain {
			word = append(word, r)
		}
		lower = plain && !unicode.IsUpper(r)
	}
	end()
	return all
}

// pascal is "NoteId" for "note_id".
func pascal(name string) string {
	var b strings.Builder
	for _, w := range words(name) {
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	out := b.String()
	if out == "" || out[0] >= '0' && out[0] <= '9' {
		return "X" + out
	}
	return out
}

// camel is "noteId" for "note_id".
func camel(name string) string {
	out := pascal(name)
	return strings.ToLower(out[:1]) + out[1:]
}

// packageName is what the Go package of a service's client is called.
func packageName(service string) string {
	name := strings.ToLower(strings.Join(words(service), ""))
	switch {
	case name == "":
		return "client"
	case name[0] >= '0' && name[0] <= '9':
		return "x" + name
	case token.IsKeyword(name) || name == "main":
		return name + "client"
	}
	return name
}

// names gives out names, each once.
type names map[string]bool

// reserve makes names that nobody gets.
func reserve(taken ...string) names {
	n := names{}
	for _, name := range taken {
		n[name] = true
	}
	return n
}

// take answers the first of some wishes that is free, or the last one with a
// number.
func (n names) take(wishes ...string) string {
	if i := slices.IndexFunc(wishes, func(w string) bool { return !n[w] }); i >= 0 {
		n[wishes[i]] = true
		return wishes[i]
	}
	for i := 2; ; i++ {
		name := wishes[len(wishes)-1] + strconv.Itoa(i)
		if !n[name] {
			n[name] = true
			return name
		}
	}
}
