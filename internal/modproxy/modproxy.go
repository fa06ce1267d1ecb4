package modproxy

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the files below
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"

	"github.com/micro/platform"
)

// Path is the framework's module.
const Path = "github.com/micro/platform"

// release is raised with each release of the framework, so that of two versions
// Go takes the newer one. What follows it in a version is the content's hash.
const release = "v0.1.0"

// framework.mod is the go.mod of the packed module and framework.sum the hashes
// of what it requires; `go test -update` writes both.
var (
	//go:embed framework.mod
	goMod []byte
	//go:embed framework.sum
	goSum []byte
)

// Module is the packed framework.
type Module struct {
	// Version is derived from the content: the same sources have the same
	// version everywhere, and a version never changes its meaning.
	Version string

	info, zip []byte
	zipHash   string // as in go.sum
	modHash   string
}

// New packs the framework, in some ten milliseconds.
func New() (*Module, error) {
	files, err := sources(platform.Sources)
	if err != nil {
		return nil, fmt.Errorf("read the framework's sources: %w", err)
	}
	return pack(files)
}

// sources picks what users compile.
func sources(fsys fs.FS) ([]packedFile, error) {
	files := []packedFile{{"go.mod", goMod}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if d != nil && d.Name() == "testdata" {
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return err
		}
		b, err := fs.ReadFile(fsys, name)
		files = append(files, packedFile{name, b})
		return err
	})
	return files, err
}

// pack makes the files of the module-proxy protocol.
func pack(files []packedFile) (*Module, error) {
	content := sha256.New()
	zipped := make([]zip.File, 0, len(files))
	for _, f := range files { // in the order of the walk
		zipped = append(zipped, f)
		fmt.Fprintf(content, "%x %s\n", sha256.Sum256(f.content), f.name)
	}
	// A letter comes first, since a number of a version must not begin with 0.
	m := &Module{Version: fmt.Sprintf("%s-h%x", release, content.Sum(nil)[:8])}
	var packed bytes.Buffer
	if err := zip.Create(&packed, module.Version{Path: Path, Version: m.Version}, zipped); err != nil {
		return nil, fmt.Errorf("pack the framework: %w", err)
	}
	m.zip = packed.Bytes()
	m.info, _ = json.Marshal(map[string]string{"Version": m.Version}) // strings always marshal
	return m, m.hash(files)
}

// hash computes what go.sum has: one hash over the files, one over go.mod.
func (m *Module) hash(files []packedFile) error {
	prefix := Path + "@" + m.Version + "/"
	content := map[string][]byte{}
	var names []string
	for _, f := range files {
		names = append(names, prefix+f.name)
		content[prefix+f.name] = f.content
	}
	open := func(name string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content[name])), nil
	}
	var err error
	if m.zipHash, err = dirhash.Hash1(names, open); err != nil {
		return err
	}
	m.modHash, err = dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(goMod)), nil
	})
	return err
}

// sum is the module's own lines of go.sum.
func (m *Module) sum() []string {
	return []string{
		Path + " " + m.Version + " " + m.zipHash,
		Path + " " + m.Version + "/go.mod " + m.modHash,
	}
}

// packedFile implements zip.File in memory.
type packedFile struct {
	name    string
	content []byte
}

func (f packedFile) Path() string                { return f.name }
func (f packedFile) Lstat() (fs.FileInfo, error) { return f, nil }
func (f packedFile) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(f.content)), nil
}

// The rest makes it its own fs.FileInfo.

func (f packedFile) Name() string       { return path.Base(f.name) }
func (f packedFile) Size() int64        { return int64(len(f.content)) }
func (f packedFile) Mode() fs.FileMode  { return 0o644 }
func (f packedFile) ModTime() time.Time { return time.Time{} }
func (f packedFile) IsDir() bool        { return false }
func (f packedFile) Sys() any           { return nil }
