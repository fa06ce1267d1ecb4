// Package network answers what can be reached in a namespace: its services,
// their nodes and the routes to them; and to operators, how the hosts keep
// tenants' code in.
//
// It owns nothing and has no table: everything it says comes from the registry,
// asked with the caller's own token, and from the scheduler and the builder.
// `micro network`, `micro doctor` and scripts ask it.
package network
