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
// Tables: namespaces, codes, outbox. Redis: how much mail was asked for lately.
package namespaces
