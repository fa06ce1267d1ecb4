package modproxy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// older packs something that is not this version, with its own lines in go.sum.
func older(t *testing.T) *Module {
	t.Helper()
	m, err := pack([]packedFile{{"go.mod", goMod}, {"framework/service/service.go", []byte("package service\n")}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestAlignBuilds brings a project of an older framework up to date, and builds.
func TestAlignBuilds(t *testing.T) {
	t.Parallel()
	m, old := newModule(t), older(t)
	dir, env := newProject(t, old), upstream(t, m)
	from, err := m.Align(dir)
	if err != nil || from != old.Version {
		t.Fatalf("Align = %q, %v, want %q", from, err, old.Version)
	}
	if sum := string(readFile(t, filepath.Join(dir, "go.sum"))); strings.Contains(sum, old.Version) {
		t.Error("go.sum has the old version still")
	}
	goIn(t, dir, env, "build", "-o", os.DevNull, ".")
	if from, err := m.Align(dir); err != nil || from != "" {
		t.Errorf("again, Align = %q, %v", from, err)
	}
}

func TestAlign(t *testing.T) {
	t.Parallel()
	m := newModule(t)
	const require = "module x\n\ngo 1.26.0\n\nrequire " + Path + " v0.1.0-hold\n"
	for _, tt := range []struct {
		name, mod string
		vendor    bool
		changed   bool
		want      []string // what go.mod has then
		err       string
	}{
		{name: "no go.mod"},
		{name: "another module", mod: "module x\n\ngo 1.20\n"},
		{name: "replaced", mod: require + "\nreplace " + Path + " => ../platform\n"},
		{name: "vendored", mod: require, vendor: true},
		{name: "older", mod: require, changed: true, want: []string{m.Version, "google.golang.org/grpc v1.85.0 // indirect"}},
		{name: "older Go", mod: "module x\n\ngo 1.22\n\ntoolchain go1.22.1\n\nrequire " + Path + " v0.1.0-hold\n", changed: true, want: []string{"go 1.26.0\n"}},
		{name: "older grpc", mod: require + "require google.golang.org/grpc v1.60.0\n", changed: true, want: []string{"google.golang.org/grpc v1.85.0\n"}},
		{name: "newer grpc", mod: require + "require google.golang.org/grpc v1.999.0\n", changed: true, want: []string{"google.golang.org/grpc v1.999.0\n"}},
		{name: "not a go.mod", mod: "module x\nrequire (\n", err: "go.mod:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			name := filepath.Join(dir, "go.mod")
			if tt.mod != "" {
				writeFile(t, name, []byte(tt.mod))
			}
			if tt.vendor {
				writeFile(t, filepath.Join(dir, "vendor", "modules.txt"), nil)
			}
			from, err := m.Align(dir)
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("Align: %v, want %q", err, tt.err)
			}
			if (from != "") != tt.changed {
				t.Fatalf("Align = %q, changed: want %v", from, tt.changed)
			}
			if tt.mod == "" {
				return
			}
			got := string(readFile(t, name))
			if !tt.changed && got != tt.mod {
				t.Errorf("go.mod was changed:\n%s", got)
			}
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("go.mod lacks %q:\n%s", want, got)
				}
			}
		})
	}
}

// TestAlignRestoresHashes is for a go.sum that somebody threw away.
func TestAlignRestoresHashes(t *testing.T) {
	t.Parallel()
	m := newModule(t)
	dir := newProject(t, m)
	want := readFile(t, filepath.Join(dir, "go.sum"))
	if err := os.Remove(filepath.Join(dir, "go.sum")); err != nil {
		t.Fatal(err)
	}
	if from, err := m.Align(dir); err != nil || from != m.Version {
		t.Fatalf("Align = %q, %v", from, err)
	}
	if got := readFile(t, filepath.Join(dir, "go.sum")); string(got) != string(want) {
		t.Errorf("go.sum is\n%s\nwant\n%s", got, want)
	}
}

// TestAlignFollowsNoLink leaves what a go.mod links to alone.
func TestAlignFollowsNoLink(t *testing.T) {
	t.Parallel()
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "go.mod")
	writeFile(t, secret, []byte("module x\n\nrequire "+Path+" v0.1.0-hold\n"))
	if err := os.Symlink(secret, filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	if _, err := newModule(t).Align(dir); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("Align: %v", err)
	}
}
