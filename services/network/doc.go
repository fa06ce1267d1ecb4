// Package network answers what can be reached in a namespace: its services,
// their nodes and the routes to them.
//
// It owns nothing and has no table: everything it says comes from the registry,
// asked with the caller's own token. `micro network` and scripts ask it.
package network
