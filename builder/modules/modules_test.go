package modules

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func answer(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", text, r.URL.Path) })
}

func TestProxy(t *testing.T) {
	t.Parallel()
	second := httptest.NewServer(answer("second"))
	t.Cleanup(second.Close)
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/here/"):
			answer("first").ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, "/broken/"):
			w.WriteHeader(http.StatusInternalServerError)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(first.Close)
	p, err := New(Own{Path: "example.com/own", Handler: answer("own")}, first.URL+","+second.URL+",direct")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/example.com/own/@v/list", 200, "own /example.com/own/@v/list"},
		{"GET", "/example.com/owner/@v/list", 200, "second /example.com/owner/@v/list"},
		{"GET", "/here/@v/v1.0.0.info", 200, "first /here/@v/v1.0.0.info"},
		{"GET", "/github.com/!a/b/@v/v1.0.0+incompatible.zip", 200, "second /github.com/!a/b/@v/v1.0.0+incompatible.zip"},
		{"GET", "/sumdb/sum.example.org/lookup/x@v1", 200, "second /sumdb/sum.example.org/lookup/x@v1"},
		{"GET", "/broken/@v/list", 500, ""},
		{"GET", "/a/../b", 404, "not found\n"},
		{"GET", "/..", 404, "not found\n"},
		{"GET", "/%2e%2e", 404, "not found\n"},
		{"GET", "/a/..", 404, "not found\n"},
		{"GET", "/a//b", 404, "not found\n"},
		{"GET", "/a%00b", 404, "not found\n"},
		{"GET", "/" + strings.Repeat("a", 2000), 404, "not found\n"},
		{"GET", "/here/x?url=http://127.0.0.1", 404, "not found\n"},
		{"POST", "/here/x", 405, "method not allowed\n"},
	} {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil))
		if w.Code != tt.status || w.Body.String() != tt.body {
			t.Errorf("%s %.60s: %d %q", tt.method, tt.path, w.Code, w.Body)
		}
	}
}

func TestUpstreamAway(t *testing.T) {
	t.Parallel()
	p, err := New(Own{}, "http://user:secret@127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/x/@v/list", nil))
	if w.Code != http.StatusBadGateway || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(Limit(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write(make([]byte, 600)) //nolint:errcheck // a test's
	}), 1000))
	t.Cleanup(s.Close)
	var sizes []int
	for range 3 {
		rsp, err := http.Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(rsp.Body) //nolint:errcheck // may be cut
		rsp.Body.Close()
		sizes = append(sizes, len(b)*rsp.StatusCode/200)
	}
	if sizes[0] != 600 || sizes[1] != 0 || sizes[2] == 600 {
		t.Errorf("sizes %v", sizes)
	}
}
