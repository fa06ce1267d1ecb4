// Package identity says who is calling. A Caller comes from one place only: a
// signed token that this process has verified. There is no trusted header.
//
// Handlers take the namespace to work in from Member or Admin, which compare
// what a message asked for with whose token it came with.
package identity
