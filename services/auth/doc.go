// Package auth is who may come in: accounts and their secrets, access and
// refresh tokens, the rules of namespaces, and the keys that tokens are signed
// with.
//
// Everybody calls it: people log in through an edge, services at their start,
// components for a token of their own, edges to learn of rules and revocations
// as they change. It calls nobody.
//
// People, who may have accounts in several namespaces, have one password and one
// second factor for all of them. Component namespaces orders who is a member of
// what, see docs/members.md.
//
// Its tables are accounts, people, recovery_codes, member_orders, policies,
// sessions, api_tokens, password_resets, revocations, session_revocations,
// gone_services, rules, keys and mac_keys. In Redis it counts failed logins, which may be lost.
package auth
