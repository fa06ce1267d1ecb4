package service

import (
	"cmp"
	"fmt"
	"net"
	"strings"
)

// settings is what the environment says; it wins over the code, so that one
// program can be deployed under several names.
type settings struct {
	name, version string
	listen        string // host:port to listen on
	advertise     string // host:port to register, or "" to find it out
	edge          string // the platform
	namespace     string
	id, secret    string // the service's account
}

func readSettings(getenv func(string) string, o options) (settings, error) {
	s := settings{
		name:      cmp.Or(getenv("MICRO_SERVICE_NAME"), o.name),
		version:   cmp.Or(getenv("MICRO_SERVICE_VERSION"), o.version, "latest"),
		listen:    cmp.Or(getenv("MICRO_SERVICE_ADDRESS"), port(getenv("PORT")), o.address, ":0"),
		advertise: getenv("MICRO_SERVICE_ADVERTISE"),
		edge:      cmp.Or(getenv("MICRO_SERVICE_NETWORK"), getenv("MICRO_PROXY"), "127.0.0.1:8081"),
		namespace: getenv("MICRO_NAMESPACE"),
		id:        cmp.Or(getenv("MICRO_CLIENT_ID"), getenv("MICRO_AUTH_ID")),
		secret:    cmp.Or(getenv("MICRO_CLIENT_SECRET"), getenv("MICRO_AUTH_SECRET")),
	}
	if s.name == "" {
		return s, fmt.Errorf("the service has no name: use service.Name, or set MICRO_SERVICE_NAME")
	}
	if (s.id == "") != (s.secret == "") {
		return s, fmt.Errorf("MICRO_CLIENT_ID and MICRO_CLIENT_SECRET go together: one of them is not set")
	}
	if _, _, err := net.SplitHostPort(s.listen); err != nil {
		return s, fmt.Errorf("listen on %q: write host:port or :port", s.listen)
	}
	if strings.ContainsAny(s.edge, "/ ") {
		return s, fmt.Errorf("the platform's address is %q: write host or host:port in MICRO_SERVICE_NETWORK, without a scheme", s.edge)
	}
	if s.advertise != "" {
		if _, _, err := net.SplitHostPort(s.advertise); err != nil {
			return s, fmt.Errorf("MICRO_SERVICE_ADVERTISE is %q: write host:port", s.advertise)
		}
	}
	return s, nil
}

func port(number string) string {
	if number == "" {
		return ""
	}
	return ":" + number
}
