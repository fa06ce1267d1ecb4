// Package usage counts what namespaces use: calls, bytes, containers, builds and
// what is kept, by day, service, endpoint and member.
//
// It owns the figures and how far the edges' logs of calls are folded into them.
// Edges send it their records; people read their own namespace's figures through
// the edge.
//
// It asks the scheduler for containers and what they have sent, and the builder
// for attempts at builds.
//
// Tables: days has the figures, months their sums by service. logs and meters say
// what is counted already, and change in the same transaction as the figures: so
// each thing is counted once, however often it is told.
package usage
