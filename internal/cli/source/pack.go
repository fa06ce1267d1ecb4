package source

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Limits of an upload. The platform has the same.
const (
	maxBytes   = 500 << 20
	maxEntries = 20_000
	maxDepth   = 32
	maxName    = 255
)

// Package is what is going to be uploaded.
type Package struct {
	root    string
	entries []entry
	// Bytes is the size of all files.
	Bytes int64
	limit int64
}

// entry is a file or directory. A link to a file in the tree is sent as a copy
// of what it points at.
type entry struct {
	name string // relative to the root, with slashes
	info fs.FileInfo
}

// List looks at everything below root and decides what is sent, before the
// first byte is.
func List(root string) (*Package, error) { return list(root, maxBytes) }

func list(root string, limit int64) (*Package, error) {
	p := &Package{root: root, limit: limit}
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	p.entries = append(p.entries, entry{".", info})
	return p, p.add("", nil)
}

// Files answers how many files there are.
func (p *Package) Files() int {
	n := 0
	for _, e := range p.entries {
		if !e.info.IsDir() {
			n++
		}
	}
	return n
}

func (p *Package) add(dir string, patterns []pattern) error {
	patterns = readIgnores(p.root, dir, patterns)
	children, err := os.ReadDir(filepath.Join(p.root, filepath.FromSlash(dir)))
	if err != nil {
		return err
	}
	for _, c := range children {
		name := path.Join(dir, c.Name())
		if ignored(patterns, name, c.IsDir()) {
			continue
		}
		info, err := p.inspect(name, c)
		if err != nil {
			return err
		}
		if err := p.take(entry{name, info}); err != nil {
			return err
		}
		if info.IsDir() {
			if err := p.add(name, patterns); err != nil {
				return err
			}
		}
	}
	return nil
}

// inspect answers what an entry is, links followed, or why it cannot be sent.
func (p *Package) inspect(name string, d fs.DirEntry) (fs.FileInfo, error) {
	info, err := d.Info()
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return p.followLink(name)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is neither a file nor a directory (%s); leave it out with a line in .microignore", name, info.Mode().Type())
	}
	return info, nil
}

func (p *Package) followLink(name string) (fs.FileInfo, error) {
	root, err := filepath.EvalSymlinks(p.root)
	if err != nil {
		return nil, err
	}
	target, err := filepath.EvalSymlinks(filepath.Join(p.root, filepath.FromSlash(name)))
	if err != nil {
		return nil, fmt.Errorf("%s is a link to something that does not exist; leave it out with a line in .microignore", name)
	}
	rel, err := filepath.Rel(root, target)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return nil, fmt.Errorf("%s is a link out of the directory that is uploaded (%s); copy what it points at, or leave it out with a line in .microignore", name, p.root)
	}
	info, err := os.Stat(target)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is a link to a directory, and links cannot be uploaded; leave it out with a line in .microignore", name)
	}
	return info, nil
}

func (p *Package) take(e entry) error {
	if len(p.entries) >= maxEntries {
		return fmt.Errorf("%s has more than %d files; leave out what the service does not need with lines in .microignore", p.root, maxEntries)
	}
	if strings.Count(e.name, "/") >= maxDepth || len(path.Base(e.name)) > maxName {
		return fmt.Errorf("%s is too deep or its name is too long (at most %d directories, %d bytes)", e.name, maxDepth, maxName)
	}
	if !e.info.IsDir() {
		p.Bytes += e.info.Size()
	}
	if p.Bytes > p.limit {
		return fmt.Errorf("%s is larger than %d MiB, which is the most that can be uploaded; leave out what the service does not need with lines in .microignore (the largest file is %s)",
			p.root, p.limit>>20, p.largest(e))
	}
	p.entries = append(p.entries, e)
	return nil
}

func (p *Package) largest(last entry) string {
	for _, e := range p.entries {
		if !e.info.IsDir() && e.info.Size() > last.info.Size() {
			last = e
		}
	}
	return last.name
}

// WriteTo sends everything as an uncompressed tar.
func (p *Package) WriteTo(w io.Writer) (int64, error) {
	counted := &counter{w: w}
	t := tar.NewWriter(counted)
	for _, e := range p.entries {
		if err := p.writeEntry(t, e); err != nil {
			return counted.n, err
		}
	}
	err := t.Close()
	return counted.n, err
}

func (p *Package) writeEntry(t *tar.Writer, e entry) error {
	if e.info.IsDir() {
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: e.name, Mode: 0o755})
	}
	// Only the bit that makes a file a program is kept of its mode.
	h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: e.info.Size(), Mode: 0o644 | int64(e.info.Mode().Perm()&0o111)}
	if err := t.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	f, err := os.Open(filepath.Join(p.root, filepath.FromSlash(e.name)))
	if err != nil {
		return err
	}
	defer f.Close()
	if n, err := io.Copy(t, io.LimitReader(f, h.Size)); err != nil {
		return err
	} else if n != h.Size {
		return fmt.Errorf("%s changed while it was read, try again", e.name)
	}
	return nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// Stamps answers when each file below root was changed and how large it is, as
// far as it would be sent: two that differ mean that a file has changed.
func Stamps(root string) (map[string][]int64, error) {
	p, err := List(root)
	if err != nil {
		return nil, err
	}
	stamps := make(map[string][]int64, len(p.entries))
	for _, e := range p.entries {
		if !e.info.IsDir() {
			stamps[e.name] = []int64{e.info.ModTime().UnixNano(), e.info.Size()}
		}
	}
	return stamps, nil
}
