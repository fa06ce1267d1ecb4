// Package namespaces turns email addresses into namespaces with owners, and
// knows which namespaces there are.
//
// It owns sign-up: codes, names, and the one transaction that spends a code and
// makes a namespace. It is called by everybody through the edges, without an
// account, so every answer is the same whether an address is known or not. It
// calls auth, which makes the owner's account: the order is written with the
// namespace and carried out after it, again after a crash, until it is done. It
// sends mail.
//
// It has the members of each namespace with their roles, and invitations. Auth
// has an account for each member; orders that are written with each change keep
// the two in step.
//
// It also says what each namespace may take: its plan, limits of its own, a
// suspension by an operator, and throttles, which usage sets. Edges and
// components are told of changes as they are committed.
//
// A namespace that its owner deletes is stopped at once, and erased when the time
// to undo that is over: then every component that keeps something of it is
// called until all are done.
//
// It also exports a namespace as one archive, which it collects from all
// components (export), and knows how far imports of archives have come.
//
// Tables: namespaces, codes, outbox, throttles, members, invites, member_orders,
// deletions, erasures, imports, mac_keys.
// Redis: how much mail was asked for lately.
package namespaces
