package seal

import (
	"bytes"
	"errors"
	"testing"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	box := func(secret, component string) *Box {
		b, err := New(secret, component)
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
