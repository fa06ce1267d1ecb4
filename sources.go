// Package platform holds the sources of the framework, which users' services
// are compiled with: the binary brings them along, so that they need not be
// published anywhere. See internal/modproxy.
package platform

import "embed"

// Sources are the folders that the framework's module is packed from, tests and
// .proto files among them.
//
//go:embed framework proto
var Sources embed.FS
