// Package auth is who may come in: accounts and their secrets, access and
// refresh tokens, the rules of namespaces, and the keys that tokens are signed
// with.
//
// Everybody calls it: people log in through an edge, services at their start,
// components for a token of their own, edges to learn of rules and revocations
// as they change. It calls nobody.
//
// Its tables are auth.accounts, auth.sessions, auth.revocations, auth.rules and
// auth.keys. In Redis it counts failed logins, which may be lost.
package auth
