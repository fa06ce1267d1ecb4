// Package scaffold makes the project of a new service: what `micro new` does.
package scaffold

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/micro/platform/internal/modproxy"
	"github.com/micro/platform/internal/protogen"
)

//go:embed templates
var files embed.FS

// New writes the project of a service into dir/name, which must not exist, and
// answers its files. When it fails there is no such folder. The project builds
// as it is, once the module is in the module cache.
func New(ctx context.Context, module *modproxy.Module, dir, name string) ([]string, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	target := filepath.Join(dir, name)
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s exists already", target)
	}
	tmp, err := os.MkdirTemp(dir, ".new-"+name+"-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp) // no folder any more once it is renamed
	written, err := write(ctx, module, tmp, name)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(tmp, 0o755), os.Rename(tmp, target)); err != nil {
		return nil, err
	}
	return written, nil
}

func write(ctx context.Context, module *modproxy.Module, dir, name string) ([]string, error) {
	all, err := template.ParseFS(files, "templates/*.tmpl")
	if err != nil {
		return nil, err
	}
	data := struct{ Name, Type, GoType, Package string }{
		name, typeName(name), goType(typeName(name)), strings.ReplaceAll(name, "-", "_"),
	}
	var written []string
	for _, f := range []struct{ template, name string }{
		{"main.go", "main.go"},
		{"handler.go", "handler/" + name + ".go"},
		{"service.proto", "proto/" + name + ".proto"},
		{"Makefile", "Makefile"},
		{"README.md", "README.md"},
		{"gitignore", ".gitignore"},
	} {
		var b strings.Builder
		if err := all.ExecuteTemplate(&b, f.template+".tmpl", data); err != nil {
			return nil, err
		}
		if err := writeFile(dir, f.name, []byte(b.String())); err != nil {
			return nil, err
		}
		written = append(written, f.name)
	}
	mod, sum, err := module.Project(name)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(writeFile(dir, "go.mod", mod), writeFile(dir, "go.sum", sum)); err != nil {
		return nil, err
	}
	generated, err := protogen.Generate(ctx, dir)
	if err != nil {
		return nil, err
	}
	return append(append(written, generated...), "go.mod", "go.sum"), nil
}

func writeFile(dir, name string, content []byte) error {
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}
