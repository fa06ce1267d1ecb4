// Package certs is how components that are apart know each other: a certificate
// authority in a directory, a certificate for each component, and the handshakes
// in which both sides show theirs. A certificate proves one component's name, so
// a stolen one of the console does not serve as auth.
//
// Files are read again when they change: certificates and authorities rotate
// without a restart.
package certs
