package gateway

import (
	"path"
	"regexp"
	"strings"
)

// clean is a path without empty parts and those that mean nothing. A slash at
// its end stays.
func clean(p string) string {
	cleaned := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && cleaned != "/" {
		cleaned += "/"
	}
	return cleaned
}

// version is a first part such as "v1", which belongs to the service's name.
var version = regexp.MustCompile(`^v[0-9]+$`)

// resolve turns a path into a service and an endpoint: "/helloworld/call" is
// "helloworld" and "Helloworld.Call".
func resolve(p string) (service, endpoint string) {
	parts := strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
	last := func(i int) string { return title(parts[len(parts)-i]) }
	switch n := len(parts); {
	case n == 0:
		return "", ""
	case n == 1:
		return parts[0], title(parts[0]) + ".Call"
	case n == 2:
		return parts[0], last(2) + "." + last(1)
	case n == 3 && version.MatchString(parts[0]):
		return parts[0] + "." + parts[1], last(2) + "." + last(1)
	default:
		return strings.Join(parts[:n-2], "."), last(2) + "." + last(1)
	}
}

// unversioned answers the name of a service without its version: clients of the
// hosted API of old write /v1/helloworld/call for the service helloworld.
func unversioned(service string) (string, bool) {
	first, rest, ok := strings.Cut(service, ".")
	return rest, ok && version.MatchString(first)
}

// described answers the service whose document a path names:
// "/helloworld/openapi.json".
func described(p string) (service string, ok bool) {
	rest, ok := strings.CutSuffix(strings.TrimPrefix(p, "/"), "/openapi.json")
	return strings.ReplaceAll(rest, "/", "."), ok
}

// title turns "say-hello" into "SayHello" and leaves "pingPong" to be
// "PingPong".
func title(s string) string {
	var b strings.Builder
	for piece := range strings.SplitSeq(s, "-") {
		if piece != "" {
			b.WriteString(strings.ToUpper(piece[:1]) + piece[1:])
		}
	}
	return b.String()
}
