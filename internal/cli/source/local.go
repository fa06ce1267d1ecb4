package source

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/micro/platform/framework/errors"
)

// Local is a directory on this machine.
type Local struct {
	// Dir is the absolute path of the service.
	Dir string
	// Root is what is uploaded: the nearest directory that is a module or a
	// repository.
	Root string
	// Entrypoint is where the service is in Root; "" is Root itself.
	Entrypoint string
	// Name is what the service is called unless somebody says otherwise.
	Name string
}

// FindLocal looks at a directory, and refuses one that cannot become a service
// before anything is sent.
func FindLocal(path string) (Local, error) {
	dir, err := filepath.Abs(path)
	if err != nil {
		return Local{}, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return Local{}, fmt.Errorf("there is no directory %s", path)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return Local{}, fmt.Errorf("%s is not a directory", path)
	}
	l := Local{Dir: dir, Root: findRoot(dir), Name: filepath.Base(dir)}
	if l.Root != l.Dir {
		rel, err := filepath.Rel(l.Root, l.Dir)
		if err != nil {
			return Local{}, err
		}
		l.Entrypoint = filepath.ToSlash(rel)
	}
	return l, l.check(path)
}

// Metadata is how the source is called in listings.
func (l Local) Metadata() string {
	if l.Entrypoint != "" {
		return l.Entrypoint
	}
	return l.Dir
}

func (l Local) check(path string) error {
	if exists(filepath.Join(l.Dir, "Dockerfile")) {
		return nil
	}
	if !exists(filepath.Join(l.Root, "go.mod")) {
		return fmt.Errorf("no Go main package in %s: neither it nor a directory above has a go.mod (\"micro new NAME\" makes a service to start from)", path)
	}
	main, err := hasMain(l.Dir)
	if err != nil {
		return err
	}
	if !main {
		return fmt.Errorf("no Go main package in %s, and no Dockerfile: name the directory that has one", path)
	}
	return nil
}

func findRoot(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if exists(filepath.Join(at, "go.mod")) || exists(filepath.Join(at, ".git")) {
			return at
		}
		if at == filepath.Dir(at) {
			return dir
		}
	}
}

func hasMain(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, parser.PackageClauseOnly)
		if err == nil && f.Name.Name == "main" {
			return true, nil
		}
	}
	return false, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
