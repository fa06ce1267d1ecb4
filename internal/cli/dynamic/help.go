package dynamic

import (
	"fmt"
	"io"
	"strings"

	"github.com/micro/platform/internal/cli/terminal"
	registrypb "github.com/micro/platform/proto/registry"
)

// Flags answers the flags of an endpoint, in the order of its fields. Fields of
// a message in the request have its name and a hyphen in front.
func Flags(e *registrypb.Endpoint) []string {
	var names []string
	walk(e.GetRequest().GetValues(), "", func(name, _ string) { names = append(names, name) })
	return names
}

func walk(fields []*registrypb.Value, prefix string, each func(name, kind string)) {
	for _, f := range fields {
		if len(f.GetValues()) == 0 {
			each(prefix+f.GetName(), f.GetType())
			continue
		}
		walk(f.GetValues(), prefix+f.GetName()+"-", each)
	}
}

// ServiceHelp writes what a service can do. The names are whatever somebody
// registered, so nothing of them may reach the terminal as a control character.
func ServiceHelp(out io.Writer, s *registrypb.Service) {
	w := &strings.Builder{}
	fmt.Fprintf(w, "NAME:\n\tmicro %s\n\nVERSION:\n\t%s\n\nUSAGE:\n\tmicro %s [command]\n\nCOMMANDS:\n", s.GetName(), s.GetVersion(), s.GetName())
	for _, c := range Commands(s) {
		fmt.Fprintf(w, "\t%s\n", terminal.OneLine(c))
	}
	fmt.Fprint(out, terminal.Inert(w.String()))
}

// EndpointHelp writes the flags of an endpoint.
func EndpointHelp(w io.Writer, s *registrypb.Service, e *registrypb.Endpoint, words []string) {
	command := strings.Join(append([]string{"micro", s.GetName()}, words...), " ")
	fmt.Fprintf(w, "NAME:\n\t%s\n\nUSAGE:\n\t%s [flags]\n\nFLAGS:\n", command, command)
	walk(e.GetRequest().GetValues(), "", func(name, kind string) {
		fmt.Fprintf(w, "\t--%s %s\n", terminal.OneLine(name), terminal.OneLine(kind))
	})
}

// suggest answers ": did you mean ...?" with what is closest, or all there is.
func suggest(prefix, text string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if d := edits(plain(text), plain(k)); d < distance {
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %q?", prefix+best)
	case len(known) == 0:
		return "; this endpoint takes none"
	default:
		return "; known are " + prefix + strings.Join(known, ", "+prefix)
	}
}

// edits is how many letters must be changed, added or taken out to make one
// word of another.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// Example answers how an endpoint can be called, with a value for its first
// field that is a text: the words, the flags, and the same as JSON.
func Example(service string, e *registrypb.Endpoint) (words, flags, body string) {
	handler, method, _ := strings.Cut(e.GetName(), ".")
	words = lowerFirst(method)
	if plain(handler) != plain(service) {
		words = lowerFirst(handler) + " " + words
	}
	for _, f := range e.GetRequest().GetValues() {
		if f.GetType() == "string" {
			return words, "--" + f.GetName() + "=Jane", fmt.Sprintf(`{%q:"Jane"}`, f.GetName())
		}
	}
	return words, "", "{}"
}

// Path answers where the HTTP API has an endpoint.
func Path(service string, e *registrypb.Endpoint) string {
	handler, method, _ := strings.Cut(e.GetName(), ".")
	if plain(handler) == plain(service) {
		return service + "/" + method
	}
	return service + "/" + handler + "/" + method
}
