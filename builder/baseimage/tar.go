package baseimage

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// user is who builds, 65532 as in the images that come of it.
const user = 65532

// write writes the file system of the image.
func write(out io.Writer, tool toolchain, dir string) error {
	buffered := bufio.NewWriterSize(out, 1<<20)
	t := archive{tar.NewWriter(buffered)}
	steps := []func() error{
		func() error {
			return t.dirs("bin", "etc", "etc/ssl", "etc/ssl/certs", "run", "run/micro", "usr", "usr/local", "src")
		},
		func() error { return t.bytes("etc/passwd", "builder:x:65532:65532::/tmp:/bin/false\n") },
		func() error { return t.bytes("etc/group", "builder:x:65532:\n") },
		func() error { return t.bytes("etc/ssl/certs/ca-certificates.crt", Certificates()) },
		func() error { return t.add(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, nil) },
		func() error { return t.file("bin/relay", filepath.Join(dir, "relay"), 0o755, 0) },
		t.shell,
		func() error { return t.tree("usr/local/go", tool.root, 0, needless) },
		func() error { return t.dirs("cache") },
		func() error { return t.tree("cache/go", filepath.Join(dir, "gocache"), user, nil) },
		func() error { return t.tree("cache/mod", filepath.Join(dir, "gomod"), user, nil) },
		t.w.Close,
		buffered.Flush,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// needless says what of a toolchain no build reads.
func needless(name string, d fs.DirEntry) bool {
	if d.IsDir() {
		return slices.Contains([]string{"test", "doc", "api", "misc", "pkg/obj"}, name) || d.Name() == "testdata"
	}
	return strings.HasSuffix(name, "_test.go")
}

// Certificates answers this machine's certificate authorities, or "".
func Certificates() string {
	for _, name := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"} {
		if b, err := os.ReadFile(name); err == nil {
			return string(b)
		}
	}
	return ""
}

// archive writes a tar.
type archive struct{ w *tar.Writer }

func (a archive) add(h *tar.Header, content io.Reader) error {
	if err := a.w.WriteHeader(h); err != nil {
		return err
	}
	if content == nil {
		return nil
	}
	_, err := io.Copy(a.w, content)
	return err
}

func (a archive) dirs(names ...string) error {
	for _, n := range names {
		if err := a.add(&tar.Header{Typeflag: tar.TypeDir, Name: n + "/", Mode: 0o755}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (a archive) bytes(name, content string) error {
	return a.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, strings.NewReader(content))
}

func (a archive) file(name, from string, mode int64, owner int) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return a.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size(), ModTime: info.ModTime(), Uid: owner, Gid: owner}, f)
}

// shell adds busybox where the machine has it, for the operator who looks into
// a build. No build needs it.
func (a archive) shell() error {
	from, err := exec.LookPath("busybox")
	if errors.Is(err, exec.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := a.file("bin/busybox", from, 0o755, 0); err != nil {
		return err
	}
	return a.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/sh", Linkname: "busybox"}, nil)
}

// tree adds a directory with the modification times it has: Go's caches go by
// them.
func (a archive) tree(name, from string, owner int, skip func(name string, d fs.DirEntry) bool) error {
	return filepath.WalkDir(from, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, at)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if skip != nil && skip(rel, d) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		to := path.Join(name, rel)
		switch {
		case d.IsDir():
			return a.add(&tar.Header{Typeflag: tar.TypeDir, Name: to + "/", Mode: 0o755, ModTime: info.ModTime(), Uid: owner, Gid: owner}, nil)
		case info.Mode().IsRegular():
			return a.file(to, at, int64(info.Mode().Perm()), owner)
		}
		return nil // a toolchain has no others that matter
	})
}
