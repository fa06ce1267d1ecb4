// Package config keeps the settings of a namespace: one JSON document, addressed
// by dotted path, with the versions that it had.
//
// It owns the documents and the keys of the secrets in them. People, programs
// and services read and change their own namespace through the edge. It calls
// no other component.
//
// Tables: documents, versions, keys. A secret is a leaf that is sealed by
// itself, under its namespace and path, with a key of the set in keys, which is
// sealed with the cluster secret. A change is told by Postgres' NOTIFY with the
// commit, so that watchers at any process hear of it.
package config
