// Package reserved knows the names of services that are the platform's own. In
// no namespace is there another service with such a name, so that a call to
// auth is always one to the platform.
package reserved

import (
	"regexp"
	"slices"
)

// services are the components, what Micro v3 took for one, and what people
// would.
var services = []string{
	"alert", "api", "audit", "auth", "billing", "broker", "builder", "config", "console", "debug", "events", "gateway", "inbox", "micro",
	"namespaces", "network", "platform", "proxy", "registry", "router", "runtime", "scheduler", "store", "usage", "web",
}

// versionLike are names that a path could not tell from a version: /v1/….
var versionLike = regexp.MustCompile(`^v[0-9]+$`)

// Service says whether a service's name belongs to the platform, whether the
// platform serves it or not.
func Service(name string) bool { return slices.Contains(services, name) }

// Name says whether nobody may give a service this name.
func Name(name string) bool { return Service(name) || versionLike.MatchString(name) }
