package source

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// tree writes files, and answers the directory.
func tree(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	if err := txtar.Write(txtar.Parse([]byte(archive)), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

const service = `
-- go.mod --
module shop
-- main.go --
package main
-- page.html --
<p>embedded</p>
-- .gitignore --
*.log
/build
!keep.log
docs/**
-- .microignore --
testdata/
-- debug.log --
-- keep.log --
-- build/out --
-- sub/build/kept.go --
package build
-- sub/.gitignore --
secret
-- sub/secret --
-- secret --
-- testdata/big --
-- docs/a/b --
-- .git/config --
-- node_modules/x/y.js --
-- sub/node_modules/z.js --
`

func TestWriteTo(t *testing.T) {
	t.Parallel()
	dir := tree(t, service)
	if err := os.Chmod(filepath.Join(dir, "main.go"), 0o4755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("page.html", filepath.Join(dir, "index.html")); err != nil {
		t.Fatal(err)
	}
	p, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := p.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		text, _ := io.ReadAll(r)
		switch {
		case h.Name == "main.go" && h.Mode != 0o755:
			t.Errorf("main.go has mode %o", h.Mode)
		case h.Name == "index.html" && (h.Typeflag != tar.TypeReg || string(text) != "<p>embedded</p>\n"):
			t.Errorf("the link became %c %q", h.Typeflag, text)
		}
	}
	want := []string{".", ".gitignore", ".microignore", "go.mod", "index.html", "keep.log", "main.go", "page.html",
		"secret", "sub", "sub/.gitignore", "sub/build", "sub/build/kept.go"}
	if !slices.Equal(names, want) {
		t.Errorf("packed %q, want %q", names, want)
	}
}

func TestListRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"link out", func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "x")) }, "x is a link out of"},
		{"relative link out", func(dir string) error { return os.Symlink("../..", filepath.Join(dir, "x")) }, "x is a link out of"},
		{"link to nothing", func(dir string) error { return os.Symlink("nothing", filepath.Join(dir, "x")) }, "does not exist"},
		{"link to a directory", func(dir string) error { return os.Symlink("sub", filepath.Join(dir, "x")) }, "link to a directory"},
		{"too large", func(dir string) error { return os.Truncate(filepath.Join(dir, "page.html"), 2<<20) }, "larger than 1 MiB"},
		{"long name", func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, strings.Repeat("d/", maxDepth+1)), 0o755)
		}, "too deep"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, service)
			if err := tt.make(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := list(dir, 1<<20); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("list = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestFindLocal(t *testing.T) {
	t.Parallel()
	dir := tree(t, `
-- shop/go.mod --
module shop
-- shop/cart/main.go --
package main
-- shop/lib/lib.go --
package lib
-- image/Dockerfile --
FROM scratch
-- nothing/README --
`)
	l, err := FindLocal(filepath.Join(dir, "shop/cart"))
	if err != nil || l.Name != "cart" || l.Entrypoint != "cart" || filepath.Base(l.Root) != "shop" {
		t.Errorf("FindLocal(shop/cart) = %+v, %v", l, err)
	}
	if l, err := FindLocal(filepath.Join(dir, "image")); err != nil || l.Entrypoint != "" {
		t.Errorf("FindLocal(image) = %+v, %v", l, err)
	}
	for path, want := range map[string]string{"shop/lib": "no Go main package", "nothing": "go.mod", "absent": "no directory", "nothing/README": "not a directory"} {
		if _, err := FindLocal(filepath.Join(dir, path)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("FindLocal(%s) = %v, want %q", path, err, want)
		}
	}
}
