package codec

import (
	"testing"

	"google.golang.org/grpc/mem"

	registrypb "github.com/micro/platform/proto/registry"
)

func TestSubtype(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]string{
		"application/grpc": Proto, "application/grpc+proto": Proto, "application/grpc+json": JSON,
		"application/grpc+json; charset=utf-8": JSON, "application/grpc+xml": "", "application/json": "", "": "",
	} {
		if got, ok := Subtype(contentType); got != want || ok != (want != "") {
			t.Errorf("Subtype(%q) = %q, %v, want %q", contentType, got, ok, want)
		}
	}
}

// FuzzJSON reads whatever comes, and what it accepts it can write.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"name":"x","options":{"ttl":"1"}}`, `{"endpoints":[{"request":{"values":[{}]}}]}`, "[", "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := Message{Subtype: JSON, Value: new(registrypb.Service)}
		if err := (GRPC{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, &m); err != nil {
			t.Fatal(err)
		}
		if m.Err != nil {
			return
		}
		if _, err := (GRPC{}).Marshal(&m); err != nil {
			t.Errorf("%q: %v", b, err)
		}
	})
}
