package store

import (
	"strings"
)

// unit is a table of a namespace. The zero table, whose name no request can
// bear, is the index of the namespace's blobs.
type unit struct {
	namespace, table string
}

// blobIndex is the unit that knows a namespace's blobs.
func blobIndex(namespace string) unit { return unit{namespace: namespace} }

// tag is what the keys of a unit have in common in Redis: its hash tag. No two
// units have the same.
func (u unit) tag() string { return escape(u.namespace) + "/" + escape(u.table) }

// keys are those of a unit in Redis, in the order in which scripts take them.
func (u unit) keys() []string {
	p := "store:{" + u.tag() + "}:"
	return []string{p + "table", p + "records", p + "index", p + "expiries"}
}

// garbageKey is where a namespace's objects in the bucket are noted that may
// belong to no blob.
func garbageKey(namespace string) string { return "store:{" + blobIndex(namespace).tag() + "}:garbage" }

// directoryKey is where a namespace's tables are listed.
func directoryKey(namespace string) string { return "store:{" + escape(namespace) + "}:tables" }

const (
	// namespacesKey is where the namespaces are listed that have tables.
	namespacesKey = "store:namespaces"
	// sweepKey is held by the process that sweeps.
	sweepKey = "store:sweep"
)

const hexDigits = "0123456789ABCDEF"

// escape writes a name so that it has none of the characters that part the
// names in a key.
func escape(name string) string {
	plain := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

// prefixEnd answers the first key behind all that begin with prefix, "" when
// there is none.
func prefixEnd(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return ""
}
