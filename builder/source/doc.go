// Package source brings the source of a service into a directory: from an
// uploaded tar, or from a git host. Nothing that it reads is trusted: no name, no
// size and no address.
//
// Errors of type *errors.Error are for the person who wrote the source.
package source
