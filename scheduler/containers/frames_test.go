package containers

import (
	"bytes"
	"strings"
	"testing"
)

func TestFrames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("y", 2*MaxLine)
	stream := "\x01\x00\x00\x00\x00\x00\x00\x03one\x02\x00\x00\x00\x00\x00\x80\x00" + long + "\x01\x00\x00\x00\x00\x00\x00\x03two"
	var got []string
	collect := func(s string) error { got = append(got, s); return nil }
	if err := Frames(strings.NewReader(stream), collect); err != nil || len(got) != 3 || got[0] != "one" || got[2] != "two" || len(got[1]) > MaxLine+256 {
		t.Errorf("%d frames, %v", len(got), err)
	}
	if err := Frames(strings.NewReader(stream[:20]), collect); err == nil {
		t.Error("a stream that ends in a frame is taken as whole")
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x05hello"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		Frames(bytes.NewReader(b), func(string) error { return nil }) //nolint:errcheck // it ends
	})
}
