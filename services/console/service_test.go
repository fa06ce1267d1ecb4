package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPages(t *testing.T) {
	t.Parallel()
	h, err := New(Options{API: "http://api.test"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, method, path string
		status             int
		want               string
	}{
		{"page", "GET", "/", 200, "<title>Micro</title>"},
		{"script", "GET", "/app.js", 200, "public REST API"},
		{"back from a provider", "GET", "/signin?code=x&state=y", 200, "<title>Micro</title>"},
		{"where the API is", "GET", "/config.json", 200, `{"api":"http://api.test"}`},
		{"unknown", "GET", "/nothing", 404, ""},
		{"not readable", "POST", "/", 405, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("%s %s = %d %q, want %d with %q", tt.method, tt.path, w.Code, w.Body, tt.status, tt.want)
			}
			if policy := w.Header().Get("Content-Security-Policy"); w.Code == http.StatusOK && !strings.Contains(policy, "connect-src 'self' http://api.test") {
				t.Errorf("policy %q does not allow the API alone", policy)
			}
		})
	}
}
