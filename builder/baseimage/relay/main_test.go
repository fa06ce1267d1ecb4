package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTrim: caches stay while they are within their limit, and are emptied when they
// are not.
func TestTrim(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, limit string
		stays       bool
	}{
		{"within", "100000", true},
		{"too large", "10000", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, name := range []string{"go/ab/cd", "mod/example.com/x@v1/x.go"} {
				name = filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, make([]byte, 8000), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := trim(dir, tt.limit); err != nil {
				t.Fatal(err)
			}
			for _, kind := range []string{"go", "mod"} {
				inside, err := os.ReadDir(filepath.Join(dir, kind))
				if err != nil || (len(inside) > 0) != tt.stays {
					t.Errorf("%s has %v, %v", kind, inside, err)
				}
			}
		})
	}
	if err := trim(t.TempDir(), "much"); err == nil {
		t.Error("a limit that is no number is taken")
	}
}
