// Package registry knows what runs where: the services of every namespace with
// their versions, nodes and endpoints.
//
// It owns the entries, and their end: a node that is not renewed within its
// time is gone. Services register themselves through the edge, people and
// programs read their own namespace, the edges watch all of them, and the
// runtime asks for and evicts the nodes of a revision by its account. It asks
// the runtime whose name it is when a service registers by another than it was
// deployed under.
//
// Tables: versions, nodes, evictions. Every change of them that others can see
// is told by Postgres' NOTIFY with the commit, so that a watcher at any process
// hears of it; a renewal changes nothing that others can see.
package registry
