// Package store keeps the records and blobs of every namespace.
//
// It owns both. Services and people of a namespace read and write their own
// through the edges; operators and components may name another. It calls no
// other component.
//
// Records are in the durable Redis: a write is answered when it is on disk.
// Each table has four keys with a hash tag in common, so that one script
// changes them together on a Redis Cluster too (redis.go lists them):
// the records in a hash, their keys in a sorted set, their ends of life in
// another, and the counters. A table's names are escaped in the tag, so that no
// name can be written that reaches another table.
//
// Blobs are objects in the bucket. What they are called there is made up at
// each write; a table that no record can be written to knows which object
// a key means, so that a reader sees a whole blob or none.
//
// It has no tables in Postgres.
package store
