// Package endpoints describes gRPC services as the registry shows them: each
// method with its request and response as a tree of names and Go types, which
// commands and consoles make flags and forms of.
package endpoints
