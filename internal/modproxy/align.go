package modproxy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// Project answers the go.mod and go.sum of a new project called name.
func (m *Module) Project(name string) (mod, sum []byte, err error) {
	mod, err = m.alignMod([]byte("module " + modfile.AutoQuote(name) + "\n\nrequire " + Path + " " + m.Version + "\n"))
	if err != nil {
		return nil, nil, err
	}
	return mod, m.alignSum(nil), nil
}

// Align makes the project in dir use this version of the framework, and at least
// what that requires. It answers the version that the project named before, or
// "" when there was nothing to do: it does not use the framework, has a copy of
// it (a replace line, a vendor folder), or has this version already.
func (m *Module) Align(dir string) (from string, err error) {
	modName, sumName := filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum")
	mod, err := read(modName)
	if err != nil || mod == nil {
		return "", err
	}
	sum, err := read(sumName)
	if err != nil {
		return "", err
	}
	from, err = m.named(modName, mod)
	if err != nil || from == "" {
		return "", err
	}
	if _, err := os.Lstat(filepath.Join(dir, "vendor", "modules.txt")); err == nil {
		return "", nil
	}
	if from == m.Version && m.summed(sum) {
		return "", nil
	}
	if mod, err = m.alignMod(mod); err != nil {
		return "", fmt.Errorf("%s: %w", modName, err)
	}
	// go.sum first: it may have more than go.mod needs, but not less.
	if err := replace(sumName, m.alignSum(sum)); err != nil {
		return "", err
	}
	return from, replace(modName, mod)
}

// summed says whether a go.sum has the hashes of this version.
func (m *Module) summed(sum []byte) bool {
	lines := strings.Split(string(sum), "\n")
	for _, want := range m.sum() {
		if !slices.Contains(lines, want) {
			return false
		}
	}
	return true
}

// maxFile bounds a go.mod or go.sum. Real ones are under 1 MiB.
const maxFile = 8 << 20

// read answers nil for a file that is not there. What is not a plain file is
// left alone: a source may come from anybody.
func read(name string) ([]byte, error) {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", name)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxFile>>20)
	}
	return os.ReadFile(name)
}

// named answers which version of the framework a go.mod requires from here.
func (m *Module) named(name string, mod []byte) (string, error) {
	f, err := modfile.Parse(name, mod, nil)
	if err != nil {
		return "", err // has the file and line
	}
	for _, r := range f.Replace {
		if r.Old.Path == Path {
			return "", nil
		}
	}
	for _, r := range f.Require {
		if r.Mod.Path == Path {
			return r.Mod.Version, nil
		}
	}
	return "", nil
}

// alignMod sets the framework's version and raises what it requires.
func (m *Module) alignMod(mod []byte) ([]byte, error) {
	f, err := modfile.Parse("go.mod", mod, nil)
	if err != nil {
		return nil, err
	}
	own, err := modfile.Parse("framework.mod", goMod, nil)
	if err != nil {
		return nil, err
	}
	if f.Go == nil || semver.Compare("v"+f.Go.Version, "v"+own.Go.Version) < 0 {
		if err := f.AddGoStmt(own.Go.Version); err != nil {
			return nil, err
		}
		f.DropToolchainStmt()
	}
	if err := f.AddRequire(Path, m.Version); err != nil {
		return nil, err
	}
	for _, r := range own.Require {
		require(f, r)
	}
	f.SetRequireSeparateIndirect(slices.Clone(f.Require))
	f.Cleanup()
	return f.Format()
}

// require adds a requirement, or raises it to at least that version.
func require(f *modfile.File, want *modfile.Require) {
	for _, r := range f.Require {
		if r.Mod.Path == want.Mod.Path {
			if semver.Compare(r.Mod.Version, want.Mod.Version) < 0 {
				r.Mod.Version = want.Mod.Version
			}
			return
		}
	}
	// Generated code imports protobuf; the rest only the framework does.
	f.AddNewRequire(want.Mod.Path, want.Mod.Version, want.Mod.Path != "google.golang.org/protobuf")
}

// alignSum takes the framework's other versions out of a go.sum and puts this
// one and what it requires in.
func (m *Module) alignSum(sum []byte) []byte {
	lines := append(strings.Split(string(goSum), "\n"), m.sum()...)
	for line := range strings.Lines(string(sum)) {
		if !strings.HasPrefix(line, Path+" ") {
			lines = append(lines, strings.TrimRight(line, "\r\n"))
		}
	}
	lines = slices.DeleteFunc(lines, func(s string) bool { return s == "" })
	slices.Sort(lines)
	return []byte(strings.Join(slices.Compact(lines), "\n") + "\n")
}
