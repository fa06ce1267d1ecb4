// Package egress is the way out of networks that have none: those that go over
// several hosts. It is an HTTP proxy that asks package edge, in this order, whose
// the account is that a service shows, whether something of its namespace may
// leave, and whether there is room; then it connects, copies, and has the bytes
// counted: egress.go, then tunnel.go. It keeps nothing.
package egress
