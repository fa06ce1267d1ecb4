package scaffold

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxName is a DNS label's.
const maxName = 63

var (
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	versionLike = regexp.MustCompile(`^v[0-9]+$`)
)

// core are the platform's own services, which nobody else may be called like.
var core = strings.Fields("auth broker config events network registry runtime store namespaces gateway inbox proxy builder scheduler usage billing console api web debug router alert platform micro")

// messages are the messages of a new service's .proto; the handler's type is
// called otherwise.
var messages = strings.Fields("Request Response StreamingRequest StreamingResponse Ping Pong")

// library are the first parts of import paths that Go looks for in its standard
// library before anywhere else.
var library = strings.Fields("archive bufio builtin bytes cmd cmp compress container context crypto database debug embed encoding errors expvar flag fmt go hash html image index internal io iter log maps math mime net os path plugin reflect regexp runtime slices sort strconv strings structs sync syscall testing text time unicode unique unsafe vendor weak")

// CheckName says what is wrong with the name of a new service. It is in host
// names, import paths and commands, and must be good in all of them.
func CheckName(name string) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("name is %d letters long: %d at most", len(name), maxName)
	case !namePattern.MatchString(name):
		return fmt.Errorf("name %q: lower-case letters, digits and single hyphens, beginning with a letter, such as my-service", name)
	case slices.Contains(core, name):
		return fmt.Errorf("name %q is that of a service of the platform: choose another", name)
	case versionLike.MatchString(name):
		return fmt.Errorf("name %q looks like the version of an API in a URL: choose another", name)
	case slices.Contains(library, name):
		return fmt.Errorf("name %q is that of a package of Go's standard library: choose another", name)
	case slices.Contains(messages, typeName(name)):
		return fmt.Errorf("name %q: the handler would be called %s, like a message: choose another", name, typeName(name))
	}
	return nil
}

// typeName is the name of the handler: my-service has MyService. Edges make an
// endpoint of a URL's path in the same way.
func typeName(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// goType is how generated Go spells a name of a .proto: a letter after a digit
// is in upper case.
func goType(name string) string {
	b := []byte(name)
	for i := 1; i < len(b); i++ {
		if b[i-1] >= '0' && b[i-1] <= '9' && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}
