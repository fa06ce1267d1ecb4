package clientgen

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden compares clients with those that are kept. The document has what is
// odd: a service with hyphens and dots, recursive messages, maps, bytes, 64-bit
// integers, two messages of one name, reserved words.
func TestGolden(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/odd.json")
	if err != nil {
		t.Fatal(err)
	}
	inGo, name, err := Go(text)
	if err != nil || name != "v1oddbox" {
		t.Fatalf("package %q, %v", name, err)
	}
	inTS, err := TypeScript(text)
	if err != nil {
		t.Fatal(err)
	}
	for file, got := range map[string][]byte{"odd/client.go": inGo, "odd/client.ts": inTS} {
		golden := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(golden); err != nil || string(want) != string(got) {
			t.Errorf("%s differs from what is written now (-update writes it): %v\n%s", golden, err, got)
		}
	}
}

// TestGoldenCompiles against the framework; tests/ compiles what is written of a
// deployed service, in both languages.
func TestGoldenCompiles(t *testing.T) {
	t.Parallel()
	if out, err := exec.CommandContext(t.Context(), "go", "vet", "./testdata/odd").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestDocumentsThatAreRefused shows that nothing of a document gets into source
// code but names, and what somebody is told.
func TestDocumentsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"no JSON", `{`, "damaged"},
		{"something else", `{"version":"1"}`, "not an OpenAPI 3 document"},
		{"no endpoints", `{"openapi":"3.1.0","info":{"title":"a"},"paths":{}}`, "service a has no endpoints"},
		{"odd endpoint", `{"openapi":"3.1.0","paths":{"/a":{"post":{"x-micro-service":"a","x-micro-endpoint":"A.B\"); os.Exit(1); (\""}}}}`, "x-micro-endpoint"},
		{"odd service", `{"openapi":"3.1.0","paths":{"/a":{"post":{"x-micro-service":"a\n","x-micro-endpoint":"A.B"}}}}`, "x-micro-service"},
		{"odd field", `{"openapi":"3.1.0","components":{"schemas":{"A":{"properties":{"a` + "`" + `":{}}}}}}`, "field \"a`\""},
		{"odd stream", `{"openapi":"3.1.0","paths":{"/a":{"post":{"x-micro-service":"a","x-micro-endpoint":"A.B","x-micro-stream":"up"}}}}`, "x-micro-stream"},
	} {
		_, _, inGo := Go([]byte(tt.text))
		_, inTS := TypeScript([]byte(tt.text))
		for _, err := range []error{inGo, inTS} {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
		}
	}
}

func FuzzGenerate(f *testing.F) {
	text, err := os.ReadFile("testdata/odd.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"openapi":"3.1.0","paths":{"/a":{"post":{"x-micro-service":"a","x-micro-endpoint":"A.B"}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		// An error of the formatter means that something was no Go.
		if _, _, err := Go(text); err != nil && strings.Contains(err.Error(), "format the client") {
			t.Error(err)
		}
		TypeScript(text) //nolint:errcheck // it must not panic
	})
}
