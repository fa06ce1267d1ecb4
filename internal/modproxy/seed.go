package modproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Seed puts the module into a module cache, as if Go had downloaded it, so that
// Go finds it whatever GOPROXY says. Doing so again does nothing.
func (m *Module) Seed(modcache string) error {
	dir := filepath.Join(modcache, "cache", "download", filepath.FromSlash(Path), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("seed the module cache: %w", err)
	}
	for _, f := range []struct {
		suffix  string
		content []byte
	}{ // the hash comes last: with it the module is complete
		{".info", m.info}, {".mod", goMod}, {".zip", m.zip}, {".ziphash", []byte(m.zipHash)},
	} {
		if err := place(filepath.Join(dir, m.Version+f.suffix), f.content); err != nil {
			return fmt.Errorf("seed the module cache: %w", err)
		}
	}
	return nil
}

// place writes a file at once, unless it is there.
func place(name string, content []byte) error {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return replace(name, content)
}

func replace(name string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // no file any more once it is renamed
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// ErrNoGo means that there is no Go on this machine. Services can be deployed
// all the same, but not built here.
var ErrNoGo = errors.New("go is not installed")

// SeedUser seeds the module cache of the person who runs this.
func (m *Module) SeedUser(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return ErrNoGo
	}
	if err != nil {
		return fmt.Errorf("find the module cache: %w", err)
	}
	return m.Seed(strings.TrimSpace(string(out)))
}
