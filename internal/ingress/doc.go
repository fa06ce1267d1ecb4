// Package ingress is where connections come in at an edge. It says whose a
// connection is, also behind proxies that the operator trusts, lets no place
// have more of them than its part, and closes those on which a client asks for
// nothing but work.
package ingress
