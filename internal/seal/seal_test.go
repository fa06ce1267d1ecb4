package seal

import (
	"bytes"
	"errors"
	"testing"

	"github.com/micro/platform/internal/settings"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	box := func(secret settings.Secret, component string, also ...settings.Secret) *Box {
		cluster := Cluster{Secret: secret}
		if len(also) > 0 {
			cluster.Also = also[0]
		}
		b, err := New(cluster, component)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sealed := box("one", "runtime").Seal([]byte("text"), "demo/hello")
	damaged := bytes.Clone(sealed)
	damaged[len(damaged)-1] ^= 1
	for _, tt := range []struct {
		name   string
		box    *Box
		sealed []byte
		owner  string
		want   error
	}{
		{"same", box("one", "runtime"), sealed, "demo/hello", nil},
		{"other owner", box("one", "runtime"), sealed, "demo/other", ErrOpen},
		{"other component", box("one", "builder"), sealed, "demo/hello", ErrOpen},
		{"other secret", box("two", "runtime"), sealed, "demo/hello", ErrOpen},
		{"also", box("two", "runtime", "one"), sealed, "demo/hello", nil},
		{"also, other owner", box("two", "runtime", "one"), sealed, "demo/other", ErrOpen},
		{"also of old", box("one", "runtime", "two"), sealed, "demo/hello", nil},
		{"neither", box("two", "runtime", "three"), sealed, "demo/hello", ErrOpen},
		{"damaged", box("one", "runtime"), damaged, "demo/hello", ErrOpen},
		{"empty", box("one", "runtime"), nil, "demo/hello", ErrOpen},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text, err := tt.box.Open(tt.sealed, tt.owner)
			if !errors.Is(err, tt.want) || err == nil && string(text) != "text" {
				t.Errorf("Open = %q, %v, want error %v", text, err, tt.want)
			}
		})
	}
}

// TestReseal shows that what both open is sealed anew once, and then opens with
// the new secret alone.
func TestReseal(t *testing.T) {
	t.Parallel()
	box := func(cluster Cluster) *Box {
		b, err := New(cluster, "config")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	old, both, alone := box(Cluster{Secret: "one"}), box(Cluster{"two", "one"}), box(Cluster{Secret: "two"})
	keys, err := NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	sealedKeys, err := old.SealKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		sealed []byte
		reseal func(b *Box, sealed []byte, owner string) ([]byte, error)
		open   func(b *Box, sealed []byte) error
	}{
		{"text", old.Seal([]byte("text"), "demo"), (*Box).Reseal, func(b *Box, sealed []byte) error { _, err := b.Open(sealed, "demo"); return err }},
		{"keys", sealedKeys, (*Box).ResealKeys, func(b *Box, sealed []byte) error { _, err := b.OpenKeys(sealed); return err }},
	} {
		anew, err := tt.reseal(both, tt.sealed, "demo")
		if err != nil || anew == nil {
			t.Fatalf("%s: Reseal = %x, %v", tt.name, anew, err)
		}
		if err := tt.open(alone, anew); err != nil {
			t.Errorf("%s: the new secret alone: %v", tt.name, err)
		}
		if err := tt.open(old, anew); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: the old secret alone: %v", tt.name, err)
		}
		if again, err := tt.reseal(both, anew, "demo"); again != nil || err != nil {
			t.Errorf("%s: Reseal again = %x, %v", tt.name, again, err)
		}
		if _, err := tt.reseal(alone, tt.sealed, "demo"); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: Reseal without the old secret: %v", tt.name, err)
		}
	}
}

func TestAccepts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cluster Cluster
		shown   string
		want    bool
	}{
		{Cluster{Secret: "one"}, "one", true},
		{Cluster{Secret: "one"}, "two", false},
		{Cluster{Secret: "one"}, "", false}, // no Also accepts nothing
		{Cluster{"one", "two"}, "one", true},
		{Cluster{"one", "two"}, "two", true},
		{Cluster{"one", "two"}, "onetwo", false},
	} {
		if got := tt.cluster.Accepts(tt.shown); got != tt.want {
			t.Errorf("Accepts(%q) = %v", tt.shown, got)
		}
	}
}
