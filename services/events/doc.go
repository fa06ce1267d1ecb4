// Package events keeps the ordered, durable topics of every namespace.
//
// It owns topics, their events, and the groups that read them. Tenants' services
// publish and consume through the edge; people look and replay with the CLI; the
// runtime publishes what happens to services. It calls no other component.
//
// A topic is a Redis stream in the durable Redis. An event is acknowledged to
// its publisher when Redis has it on disk (and as many replicas as Options say),
// and to Redis when its consumer has acknowledged it. Keys:
//
//	events:namespaces                  the namespaces that have topics
//	events:{<namespace>}:topics        the topics of a namespace
//	events:{<namespace>/<topic>}:log   the stream of a topic
//	events:{<namespace>/<topic>}:dead  the stream of its dead letters, topic <topic>.dead
//
// Names are checked before they become part of a key: neither a namespace nor a
// topic can hold a slash, a brace or a colon. What is done to one topic is in one
// slot of a Redis Cluster.
//
// A consumer holds no connection to Redis. A process reads a group once for all
// its consumers, when a message on the channel events:wake says that there is
// something (hub.go), and shares the events out (group.go).
package events
