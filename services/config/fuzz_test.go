package config

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// FuzzDocument sets a value at a path: either is refused in words, or what was
// set is found there again, plain and kept.
func FuzzDocument(f *testing.F) {
	for _, path := range []string{"", "a", "a.b", "a..b", ".", "a.", "\x00", "\xff", strings.Repeat("a.", 100), "a{b}*?[c]"} {
		for _, data := range []string{`1`, `{"a":{"b":[1,{"c":null}]}}`, `{`, `{"a":1,"a":2}`, `{"":1}`, `1e999`, `"\ud800"`, strings.Repeat("[", 100)} {
			f.Add(path, data)
		}
	}
	f.Fuzz(func(t *testing.T, path, data string) {
		keys, err := parsePath(path)
		if err != nil {
			decided(t, err)
			return
		}
		v, err := parseValue(data, len(keys))
		if err != nil {
			decided(t, err)
			return
		}
		d := document{}
		if node, ok := v.(document); len(keys) == 0 && !ok || ok && node.count() == 0 {
			return
		}
		d.merge(keys, v)
		kept, err := d.save()
		if err != nil {
			t.Fatal(err)
		}
		again, err := kept.load()
		if err != nil {
			t.Fatalf("what was set does not load: %v", err)
		}
		first, err := encode(d.get(keys))
		if err != nil {
			t.Fatal(err)
		}
		second, err := encode(again.get(keys))
		if err != nil || string(first) != string(second) {
			t.Errorf("set %s, found %s, %v", first, second, err)
		}
		again.remove(keys)
		if found := again.get(keys); len(keys) > 0 && found != nil {
			t.Errorf("removed, and found %v", found)
		}
	})
}

func decided(t *testing.T, err error) {
	t.Helper()
	if errors.Code(err) != codes.InvalidArgument {
		t.Errorf("refused with %v", err)
	}
}
