package seal

import (
	"errors"
	"testing"
)

// TestKeys shows the life of a key: it seals, then only opens, then is gone.
func TestKeys(t *testing.T) {
	t.Parallel()
	box, err := New(Cluster{Secret: "one"}, "config")
	if err != nil {
		t.Fatal(err)
	}
	must := func(k *Keys, err error) *Keys {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := box.SealKeys(k) // each state can be kept
		if err != nil {
			t.Fatal(err)
		}
		if k, err = box.OpenKeys(sealed); err != nil {
			t.Fatal(err)
		}
		return k
	}
	seal := func(k *Keys) []byte {
		t.Helper()
		sealed, err := k.Seal([]byte("text"), "demo/a.b")
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	first := must(NewKeys())
	both := must(first.Add())
	second := must(both.Newest())
	old, young := seal(first), seal(both)
	for _, tt := range []struct {
		name   string
		keys   *Keys
		sealed []byte
		owner  string
		want   error
	}{
		{"own", first, old, "demo/a.b", nil},
		{"another owner", first, old, "other/a.b", ErrOpen},
		{"not yet known key", first, young, "demo/a.b", ErrOpen},
		{"old text, both keys", both, old, "demo/a.b", nil},
		{"new text, both keys", both, young, "demo/a.b", nil},
		{"new text, new key", second, young, "demo/a.b", nil},
		{"old text, new key", second, old, "demo/a.b", ErrOpen},
		{"nothing", second, nil, "demo/a.b", ErrOpen},
	} {
		if text, err := tt.keys.Open(tt.sealed, tt.owner); !errors.Is(err, tt.want) || err == nil && string(text) != "text" {
			t.Errorf("%s: Open = %q, %v, want %v", tt.name, text, err, tt.want)
		}
	}
	other, err := New(Cluster{Secret: "two"}, "config")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := box.SealKeys(first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.OpenKeys(sealed); !errors.Is(err, ErrOpen) {
		t.Errorf("another cluster secret opens the keys: %v", err)
	}
}
