package gateway_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// route is a line of a rest.yaml that names a path.
var route = regexp.MustCompile(`(?m)^\s+(get|post|put|patch|delete): (/platform/v1/\S+)$`)

// TestEveryRouteIsServed shows that each route of each API is in the document
// of the platform's API, and reaches a handler.
func TestEveryRouteIsServed(t *testing.T) {
	t.Parallel()
	e := start(t)
	_, _, document := e.do("GET", "/platform/v1/openapi.json", "")
	files, err := filepath.Glob("../proto/*/rest.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no routes: ", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range route.FindAllStringSubmatch(string(b), -1) {
			method, path := strings.ToUpper(m[1]), strings.ReplaceAll(m[2], "=**", "")
			if !strings.Contains(document, `"`+path+`":`) {
				t.Errorf("%s: %s is not in the document", file, path)
			}
			// Nobody is behind most of them here, so they refuse, and say something else.
			status, _, body := e.do(method, strings.NewReplacer("{", "", "}", "").Replace(path), "{}")
			if status == http.StatusMethodNotAllowed || strings.Contains(body, "in the platform's API") {
				t.Errorf("%s: %s %s is not served: %d %s", file, method, path, status, body)
			}
		}
	}
}
