package store

import (
	"strings"
	"testing"
)

// FuzzUnits looks for two tables that share a key in Redis, and for names that
// get out of their hash tag.
func FuzzUnits(f *testing.F) {
	for _, s := range [][4]string{
		{"a", "b", "a", "c"}, {"a", "b/c", "a/b", "c"}, {"a", "}:records{", "a}", ":records{"}, {"a%2Fb", "c", "a/b", "c"},
		{"", "a", "a", ""}, {"a", "", "a", "tables"}, {"acme", "{x}", "acme", "%7Bx%7D"}, {"a", "\x00", "a", "\xff"},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	f.Fuzz(func(t *testing.T, ns, table, otherNS, otherTable string) {
		u, other := unit{ns, table}, unit{otherNS, otherTable}
		seen := map[string]bool{}
		for _, k := range append(u.keys(), directoryKey(ns), garbageKey(ns), namespacesKey, sweepKey) {
			if seen[k] {
				t.Errorf("%q has the key %q twice", u, k)
			}
			seen[k] = true
		}
		for _, k := range u.keys() {
			inside, after, ok := strings.Cut(strings.TrimPrefix(k, "store:{"), "}:")
			if !ok || strings.ContainsAny(inside+after, "{}:") || strings.Count(inside, "/") != 1 {
				t.Errorf("%q has the key %q", u, k)
			}
		}
		if u == other {
			return
		}
		for _, k := range other.keys() {
			if seen[k] {
				t.Errorf("%q and %q share the key %q", u, other, k)
			}
		}
		if ns != otherNS && (seen[directoryKey(otherNS)] || seen[garbageKey(otherNS)]) {
			t.Errorf("%q and %q share a directory", ns, otherNS)
		}
	})
}

// FuzzPrefixEnd looks for keys that begin with a prefix and are not in its range,
// or the other way round.
func FuzzPrefixEnd(f *testing.F) {
	f.Add("a", "ab")
	f.Add("\xff\xff", "\xff\xff\x00")
	f.Add("a\xff", "b")
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, prefix, key string) {
		end := prefixEnd(prefix)
		in := key >= prefix && (end == "" || key < end)
		if in != strings.HasPrefix(key, prefix) {
			t.Errorf("key %q, prefix %q, end %q", key, prefix, end)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add("")
	f.Add("\x00\x00\x00\x00\x00\x00\x01value")
	f.Add("\x07\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00v")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := decode(s); err != nil && len(s) > 64 && s[0] == 0 {
			t.Errorf("a plain record of %d bytes: %v", len(s), err)
		}
	})
}
