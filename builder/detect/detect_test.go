package detect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const main = "package main\n\nfunc main() {}\n"

func TestDetect(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, folder string
		files        map[string]string
		want         Plan
	}{
		{"root", ".", map[string]string{"go.mod": "module a\n", "main.go": main}, Plan{Module: ".", Package: "."}},
		{"folder", "cmd/a", map[string]string{"go.mod": "module a\n", "cmd/a/main.go": main}, Plan{Module: ".", Package: "cmd/a"}},
		{"nested module", "a/cmd", map[string]string{"go.mod": "module a\n", "a/go.mod": "module b\n", "a/cmd/main.go": main}, Plan{Module: "a", Package: "cmd"}},
		{"vendored", ".", map[string]string{"go.mod": "module a\n", "main.go": main, "vendor/modules.txt": ""}, Plan{Module: ".", Package: ".", Vendor: true}},
		{"Go of the same line", ".", map[string]string{"go.mod": "module a\n\ngo 1.26\n\ntoolchain go1.26.9\n", "main.go": main}, Plan{Module: ".", Package: "."}},
		{"tests of another package", ".", map[string]string{"go.mod": "module a\n", "main.go": main, "x_test.go": "package main_test\n"}, Plan{Module: ".", Package: "."}},
		{"ignored files", ".", map[string]string{"go.mod": "module a\n", "main.go": main, "gen.go": "//go:build ignore\n\npackage gen\n"}, Plan{Module: ".", Package: "."}},
		{"replace inside", "a", map[string]string{"a/go.mod": "module a\n\nreplace x.y/b => ../b\n", "a/main.go": main}, Plan{Module: "a", Package: "."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Detect(tree(t, tt.files), tt.folder, "go1.26.1")
			if err != nil || got != tt.want {
				t.Errorf("Detect = %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestDetectRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, folder string
		files        map[string]string
		want         string
	}{
		{"no Go", ".", map[string]string{"README.md": ""}, "no Go main package in the root"},
		{"Dockerfile", ".", map[string]string{"Dockerfile": "FROM scratch\n"}, "building from one is not supported yet"},
		{"elsewhere", ".", map[string]string{"go.mod": "module a\n", "cmd/web/main.go": main}, `there is one in "cmd/web"`},
		{"library", "lib", map[string]string{"go.mod": "module a\n", "lib/a.go": "package lib\n"}, `no Go main package in folder "lib"`},
		{"two packages", ".", map[string]string{"go.mod": "module a\n", "a.go": main, "b.go": "package b\n"}, "packages main and b"},
		{"syntax", ".", map[string]string{"go.mod": "module a\n", "a.go": "pakage main\n"}, "a.go:1:1: expected 'package'"},
		{"no go.mod", ".", map[string]string{"main.go": main}, "no go.mod"},
		{"go.mod is broken", ".", map[string]string{"go.mod": "modul a\n", "main.go": main}, "go.mod:1: unknown directive"},
		{"newer Go", ".", map[string]string{"go.mod": "module a\n\ngo 1.27\n", "main.go": main}, "asks for Go 1.27"},
		{"newer toolchain", ".", map[string]string{"go.mod": "module a\n\ngo 1.26\n\ntoolchain go1.99.0\n", "main.go": main}, "asks for toolchain go1.99.0"},
		{"replace outside", ".", map[string]string{"go.mod": "module a\n\nreplace x.y/b => ../b\n", "main.go": main}, "leads out of the source"},
		{"no folder", "x", map[string]string{"go.mod": "module a\n", "main.go": main}, `folder "x" not found`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, tt.files)
			_, err := Detect(dir, tt.folder, "go1.26.1")
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), dir) {
				t.Errorf("Detect: %v, want %q", err, tt.want)
			}
		})
	}
}
