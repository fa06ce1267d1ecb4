package modproxy

import (
	"archive/zip"
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

var update = flag.Bool("update", false, "write framework.mod and framework.sum")

func newModule(t *testing.T) *Module {
	t.Helper()
	m, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRequirements holds framework.mod and framework.sum to what the packed
// sources import, and to the versions that the platform itself is tested with.
func TestRequirements(t *testing.T) {
	t.Parallel()
	dir := unpack(t, newModule(t))
	if *update {
		goIn(t, dir, nil, "mod", "tidy")
		for from, to := range map[string]string{"go.mod": "framework.mod", "go.sum": "framework.sum"} {
			if err := os.WriteFile(to, readFile(t, filepath.Join(dir, from)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	} else {
		writeFile(t, filepath.Join(dir, "go.sum"), goSum)
	}
	if diff := goIn(t, dir, nil, "mod", "tidy", "-diff"); diff != "" {
		t.Errorf("framework.mod or framework.sum is not what the framework needs (go test -update writes them):\n%s", diff)
	}
	own, root := requirements(t, "framework.mod"), requirements(t, "../../go.mod")
	for path, version := range own {
		if path != "" && root[path] != version {
			t.Errorf("framework.mod has %s %s, the platform's go.mod %s", path, version, root[path])
		}
	}
}

func requirements(t *testing.T, name string) map[string]string {
	t.Helper()
	f, err := modfile.Parse(name, readFile(t, name), nil)
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, r := range f.Require {
		versions[r.Mod.Path] = r.Mod.Version
	}
	return versions
}

// unpack writes the packed sources into a folder.
func unpack(t *testing.T, m *Module) string {
	t.Helper()
	dir := t.TempDir()
	packed, err := zip.NewReader(bytes.NewReader(m.zip), int64(len(m.zip)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range packed.File {
		name, ok := strings.CutPrefix(f.Name, Path+"@"+m.Version+"/")
		if !ok {
			t.Fatalf("%s is not below the module's prefix", f.Name)
		}
		if name != "go.mod" && !strings.HasPrefix(name, "framework/") && !strings.HasPrefix(name, "proto/") ||
			strings.Contains(name, "testdata") || strings.HasSuffix(name, "_test.go") {
			t.Errorf("%s is packed", name)
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), b.Bytes())
	}
	return dir
}

// TestVersion is what makes it safe to cache.
func TestVersion(t *testing.T) {
	t.Parallel()
	m, again := newModule(t), newModule(t)
	if m.Version != again.Version || !bytes.Equal(m.zip, again.zip) {
		t.Error("packed twice, the module differs")
	}
	if err := module.Check(Path, m.Version); err != nil || module.IsPseudoVersion(m.Version) {
		t.Errorf("version %s: %v", m.Version, err)
	}
	other, err := pack([]packedFile{{"go.mod", goMod}, {"framework/a.go", []byte("package a\n")}})
	if err != nil {
		t.Fatal(err)
	}
	if other.Version == m.Version {
		t.Error("other sources have the same version")
	}
}

func writeFile(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goIn runs Go with its default settings and those of env.
func goIn(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	out, messages, err := goCommand(dir, env, args...)
	if err != nil {
		t.Fatalf("go %s: %v\n%s\n%s", strings.Join(args, " "), err, out, messages)
	}
	return out
}

// goCommand answers apart what Go says besides: what it downloads, for one.
func goCommand(dir string, env []string, args ...string) (out, messages string, err error) {
	var stdout, stderr strings.Builder
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(append(os.Environ(), "GOFLAGS=", "GOWORK=off"), env...)
	err = cmd.Run()
	return strings.TrimSpace(stdout.String()), strings.TrimSpace(stderr.String()), err
}
