package modproxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// upstream serves the module cache of this machine as a module proxy that has
// everything but the framework, or with it if own is given. There is no way
// round it to a checksum database.
func upstream(t *testing.T, own http.Handler) (env []string) {
	t.Helper()
	filled.Do(func() { fill(t) })
	cache := http.FileServer(http.Dir(filepath.Join(goIn(t, ".", nil, "env", "GOMODCACHE"), "cache", "download")))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasPrefix(r.URL.Path, "/"+Path+"/@"):
			cache.ServeHTTP(w, r)
		case own != nil:
			own.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return []string{
		// Whatever the checksum database is, it is asked here, and this has none.
		"GOPROXY=" + s.URL, "GOSUMDB=" + strings.Fields(goIn(t, ".", nil, "env", "GOSUMDB"))[0] + " " + s.URL + "/sumdb",
		"GOMODCACHE=" + t.TempDir(), "GOFLAGS=-modcacherw -mod=readonly -trimpath",
	}
}

// filled is for all tests: they share the module cache of this machine.
var filled sync.Once

// fill has all that the framework requires be in the module cache of this machine:
// other builds may not have wanted the go.mod files of every version.
func fill(t *testing.T) {
	t.Helper()
	dir := unpack(t, newModule(t))
	writeFile(t, filepath.Join(dir, "go.sum"), goSum)
	goIn(t, dir, nil, "mod", "download")
	goIn(t, dir, nil, "mod", "graph")
}

const program = `package main

import "github.com/micro/platform/framework/service"

func main() {
	if err := service.New(service.Name("x")).Run(); err != nil {
		panic(err)
	}
}
`

func newProject(t *testing.T, m *Module) string {
	t.Helper()
	dir := t.TempDir()
	mod, sum, err := m.Project("x")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "go.mod"), mod)
	writeFile(t, filepath.Join(dir, "go.sum"), sum)
	writeFile(t, filepath.Join(dir, "main.go"), []byte(program))
	return dir
}

// TestSeededCacheBuilds has a proxy that never heard of the framework.
func TestSeededCacheBuilds(t *testing.T) {
	t.Parallel()
	m := newModule(t)
	dir, env := newProject(t, m), upstream(t, nil)
	if _, messages, err := goCommand(dir, env, "build", "-o", os.DevNull, "."); err == nil || !strings.Contains(messages, Path+"@"+m.Version) {
		t.Fatalf("built without the framework: %s", messages)
	}
	modcache := strings.TrimPrefix(env[2], "GOMODCACHE=")
	for range 2 {
		if err := m.Seed(modcache); err != nil {
			t.Fatal(err)
		}
	}
	goIn(t, dir, env, "build", "-o", os.DevNull, ".")
	goIn(t, dir, env, "mod", "verify")
}

// TestProxyBuilds has an empty module cache and a proxy with the framework.
func TestProxyBuilds(t *testing.T) {
	t.Parallel()
	m := newModule(t)
	dir, env := newProject(t, m), upstream(t, m)
	goIn(t, dir, env, "build", "-o", os.DevNull, ".")
	goIn(t, dir, env, "mod", "verify")
	if got := goIn(t, dir, env, "list", "-m", "-f", "{{.Version}}", Path+"@latest"); got != m.Version {
		t.Errorf("latest is %s, want %s", got, m.Version)
	}
}

func TestServeHTTP(t *testing.T) {
	t.Parallel()
	m := newModule(t)
	for _, tt := range []struct {
		path string
		code int
		want string
	}{
		{"/" + Path + "/@v/list", 200, m.Version + "\n"},
		{"/" + Path + "/@latest", 200, `{"Version":"` + m.Version + `"}`},
		{"/" + Path + "/@v/" + m.Version + ".info", 200, `{"Version":"` + m.Version + `"}`},
		{"/" + Path + "/@v/" + m.Version + ".mod", 200, string(goMod)},
		{"/" + Path + "/@v/" + m.Version + ".zip", 200, string(m.zip)},
		{"/" + Path + "/@v/v0.1.0-h0000000000000000.zip", 404, "micro gen"},
		{"/" + Path + "/@v/" + m.Version + ".lock", 404, ""},
		{"/github.com/other/module/@v/list", 404, "only"},
		{"/sumdb/any/supported", 404, ""},
		{"/", 404, ""},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, tt.path, nil))
			body, _ := io.ReadAll(w.Body)
			if w.Code != tt.code || tt.code == 200 && string(body) != tt.want || !strings.Contains(string(body), tt.want) {
				t.Errorf("%d %.100q, want %d %.100q", w.Code, body, tt.code, tt.want)
			}
		})
	}
}
