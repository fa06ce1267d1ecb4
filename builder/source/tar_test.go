package source

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/platform/framework/errors"
)

type entry struct {
	tar.Header
	body string
}

func file(name, body string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(body))}, body}
}

func other(kind byte, name, link string) entry {
	return entry{tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o755}, ""}
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func root(t testing.TB) *os.Root {
	t.Helper()
	r, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestExtract(t *testing.T) {
	t.Parallel()
	r := root(t)
	in := archive(t, other(tar.TypeDir, ".", ""), other(tar.TypeDir, "empty", ""), file("main.go", "package main"),
		other(tar.TypeDir, "vendor/", ""), file("vendor/modules.txt", "# x"), file("./a/b/c.go", "package c"))
	if err := Extract(t.Context(), bytes.NewReader(in), r, DefaultLimits); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"main.go": "package main", "vendor/modules.txt": "# x", "a/b/c.go": "package c"} {
		got, err := r.ReadFile(name)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if info, err := r.Stat(name); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s has mode %v: other users must read it (%v)", name, info.Mode(), err)
		}
	}
	if info, err := r.Stat("empty"); err != nil || !info.IsDir() {
		t.Errorf("empty folder: %v", err)
	}
}

func TestExtractRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	for _, tt := range []struct {
		name, want string
		entries    []entry
	}{
		{"parent", "leads out", []entry{file("../x", "")}},
		{"parent in the middle", "leads out", []entry{file("a/../../x", "")}},
		{"absolute", "absolute", []entry{file("/etc/passwd", "")}},
		{"backslash", "backslashes", []entry{file(`a\b`, "")}},
		{"drive", "drive", []entry{file("c:x", "")}},
		{"empty part", "empty parts", []entry{file("a//b", "")}},
		{"long part", "too long", []entry{file(long, "")}},
		{"deep", "too many folders", []entry{file(strings.Repeat("a/", 33)+"x", "")}},
		{"not UTF-8", "UTF-8", []entry{file("a\xff", "")}},
		{"symbolic link", "symbolic links are not allowed", []entry{other(tar.TypeSymlink, "x", "/etc/passwd")}},
		{"hard link", "hard links", []entry{file("a", ""), other(tar.TypeLink, "x", "a")}},
		{"device", "devices", []entry{other(tar.TypeChar, "x", "")}},
		{"pipe", "pipes", []entry{other(tar.TypeFifo, "x", "")}},
		{"twice", "twice", []entry{file("a", "1"), file("a", "2")}},
		{"twice in another case", "twice", []entry{file("a", "1"), file("A", "2")}},
		{"file is a folder", "twice", []entry{file("a/b", "1"), file("a", "2")}},
		{"folder is a file", "is a file", []entry{file("a", "1"), file("a/b", "2")}},
		{"set-id", "set-id", []entry{{tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: 0o4755}, ""}}},
		{"only folders", "no files", []entry{other(tar.TypeDir, "a/", "")}},
		{"nothing", "no files", nil},
		{"too large", "larger than 0 MiB", []entry{file("a", strings.Repeat("x", 600)), file("b", strings.Repeat("x", 600))}},
		{"too many", "more than 10", []entry{file("1", ""), file("2", ""), file("3", ""), file("4", ""), file("5", ""), file("6", ""),
			file("7", ""), file("8", ""), file("9", ""), file("10", ""), file("11", "")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := Extract(t.Context(), bytes.NewReader(archive(t, tt.entries...)), root(t), Limits{Bytes: 1000, Entries: 10, Depth: 32})
			if !isRefusal(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Extract: %v, want %q", err, tt.want)
			}
		})
	}
}

func TestExtractDamaged(t *testing.T) {
	t.Parallel()
	whole := archive(t, file("a", strings.Repeat("x", 2000)))
	for name, in := range map[string][]byte{"cut": whole[:700], "garbage": bytes.Repeat([]byte("x"), 1024)} {
		if err := Extract(t.Context(), bytes.NewReader(in), root(t), DefaultLimits); !isRefusal(err) || !strings.Contains(err.Error(), "damaged at entry 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A source of 1 GB is refused when its 500 MiB are through, not at its end.
func TestExtractStopsEarly(t *testing.T) {
	t.Parallel()
	var head bytes.Buffer
	w := tar.NewWriter(&head)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "big", Mode: 0o600, Size: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	body := &counter{r: zeros{}}
	err := Extract(t.Context(), io.MultiReader(&head, body), root(t), Limits{Bytes: 1 << 20, Entries: 10, Depth: 32})
	if errors.FromError(err).HTTP != 413 || body.n > 2<<20 {
		t.Errorf("Extract: %v after %d bytes", err, body.n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func FuzzExtract(f *testing.F) {
	f.Add(archive(f, file("a/b", "x"), other(tar.TypeDir, ".", "")))
	f.Add(archive(f, file("../a", "x"), other(tar.TypeSymlink, "b", "..")))
	f.Add(archive(f, other(tar.TypeLink, "a", "b"), file("A", ""), file("a", "")))
	f.Fuzz(func(t *testing.T, in []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "root")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		r, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		limits := Limits{Bytes: 10_000, Entries: 50, Depth: 8}
		if err := Extract(context.Background(), bytes.NewReader(in), r, limits); err != nil && !isRefusal(err) {
			t.Errorf("an error that is no refusal: %v", err)
		}
		var size int64
		err = filepath.WalkDir(parent, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if name != parent && name != dir && !strings.HasPrefix(name, dir+"/") {
				t.Errorf("%s is outside", name)
			}
			if !d.IsDir() && !d.Type().IsRegular() || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
				t.Errorf("%s is %v", name, info.Mode())
			}
			if d.Type().IsRegular() {
				size += info.Size()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if size > limits.Bytes+1 {
			t.Errorf("%d bytes on disk", size)
		}
	})
}
