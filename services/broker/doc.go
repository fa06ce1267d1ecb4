// Package broker hands messages from those who publish to those who listen at
// that moment. Nothing is kept.
//
// It owns the subscriptions. People, programs and services publish and
// subscribe through the edge, each in the namespace of its own account. It
// calls no other component and has no tables.
//
// Between processes messages go through the publish and subscribe of the Redis
// for what may be lost: a channel a topic. Members of queues do not listen there:
// the script that publishes looks up which processes have members and sends
// the message to one of them, on that process's own channel. So exactly one is
// chosen, whatever runs where.
package broker
