// Package remote is the command line's side of the wire: one gRPC address for
// everything, tokens that are renewed in time, and bodies that are JSON.
package remote
