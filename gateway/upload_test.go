package gateway

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"testing"

	"github.com/micro/platform/framework/errors"
)

// TestBombIsCut shows that an archive that expands without end is not read to
// it.
func TestBombIsCut(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(make([]byte, 10<<20)); err != nil {
		t.Fatal(err)
	}
	z.Close()
	r, err := unpacked(&b)
	if err != nil {
		t.Fatal(err)
	}
	r.left = 1 << 20 // of maxUnpacked
	n, err := io.Copy(io.Discard, r)
	var e *errors.Error
	if !errors.As(err, &e) || e.HTTP != http.StatusRequestEntityTooLarge || n > 2<<20 {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
