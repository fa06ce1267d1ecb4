package tests

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/internal/browsertest"
	"github.com/micro/platform/internal/programtest"
	"github.com/micro/platform/tests/platform"
)

// TestClients uses a deployed service from programs outside the platform, with
// an API token: the clients that the repository has, in the form in which people
// get them, and those that micro gen client writes.
func TestClients(t *testing.T) {
	t.Parallel()
	programtest.Path(t, "npm")
	p := start(t, false)
	x := person(t, p, "alice")
	expect(t, x, "", "micro new helloworld")
	expect(t, x, "running", "micro run ./helloworld")
	token, err := sh(t.Context(), x, "micro auth token create clients --grant '*:*:write' --expires 1d 2>/dev/null")
	if err != nil {
		t.Fatalf("make an API token: %v: %s", err, token)
	}
	c := clients{p, x, strings.TrimSpace(token)}
	t.Run("Go", c.golang)
	t.Run("TypeScript", c.typeScript)
}

// typescript is where the client for TypeScript is. What npm makes there is left
// alone.
const typescript = "../framework/typescript"

// clients is what the clients call.
type clients struct {
	*platform.Platform
	person *platform.Person
	token  string
}

// golang compiles and runs a program in a module of its own, with a client that
// micro gen client writes.
func (c clients) golang(t *testing.T) {
	user := t.TempDir()
	if err := os.CopyFS(user, os.DirFS("testdata/goclient")); err != nil {
		t.Fatal(err)
	}
	c.gen(t, "--go", filepath.Join(user, "helloworld"))
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	// The same versions of what the framework needs, so that nothing is fetched.
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(mod), "module github.com/micro/platform", "module example.com/user", 1) +
		"\nrequire github.com/micro/platform v0.0.0\n\nreplace github.com/micro/platform => " + root + "\n"
	if err := os.WriteFile(filepath.Join(user, "go.mod"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(user, "go.sum"), sum, 0o644); err != nil {
		t.Fatal(err)
	}
	c.run(t, user, "go", "build", "-mod=mod", "-o", "user", ".")
	const want = "Hello Jane; 3 messages; pong 7; missing: true\n"
	if got := c.run(t, user, "./user"); got != want {
		t.Errorf("the program says %q, want %q", got, want)
	}
}

// gen has micro write a client of helloworld.
func (c clients) gen(t *testing.T, language, out string) {
	t.Helper()
	expect(t, c.person, "client.", "micro gen client "+language+" --out "+out+" --api http://"+c.API+" helloworld")
}

// typeScript tests the package of framework/typescript, then packs it and uses
// it as a program does that has installed it.
func (c clients) typeScript(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source")
	for _, dir := range []string{"src", "test"} {
		if err := os.CopyFS(filepath.Join(source, dir), os.DirFS(filepath.Join(typescript, dir))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{".npmrc", "README.md", "package.json", "package-lock.json", "tsconfig.json", "tsconfig.cjs.json"} {
		b, err := os.ReadFile(filepath.Join(typescript, file))
		if err == nil {
			err = os.WriteFile(filepath.Join(source, file), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c.run(t, source, "npm", "ci")
	c.run(t, source, "npm", "test")
	c.run(t, source, "npm", "pack", "--pack-destination", filepath.Dir(source))
	packed, err := filepath.Glob(filepath.Join(filepath.Dir(source), "*.tgz"))
	if err != nil || len(packed) != 1 {
		t.Fatalf("npm pack made %q, %v", packed, err)
	}
	user := t.TempDir()
	if err := os.CopyFS(user, os.DirFS("testdata/typescript")); err != nil {
		t.Fatal(err)
	}
	tsc := filepath.Join(source, "node_modules", ".bin", "tsc")
	c.run(t, user, "npm", "install", "--no-save", packed[0], filepath.Join(source, "node_modules", "@types", "node"))
	c.gen(t, "--ts", filepath.Join(user, "gen"))
	c.run(t, user, tsc)
	c.run(t, user, "node", "module.mjs")
	c.run(t, user, "node", "common.cjs")
	t.Run("browser", func(t *testing.T) {
		c.browser(t, filepath.Join(user, "node_modules", "@micro", "platform-client", "dist", "esm"))
	})
}

// run runs a program where it finds the platform.
func (c clients) run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"MICRO_TEST_API=http://"+c.API, "MICRO_TEST_PROXY="+c.Proxy, "MICRO_TEST_TOKEN="+c.token,
		"MICRO_TEST_ID=alice@example.com", "MICRO_TEST_SECRET=correct horse battery staple")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// browser opens a page that calls the platform from another origin.
func (c clients) browser(t *testing.T, dist string) {
	page, err := os.ReadFile("testdata/browser.html")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	mux := http.NewServeMux()
	mux.Handle("GET /client/", http.StripPrefix("/client/", http.FileServer(http.Dir(dist))))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.NewReplacer("ADDRESS", "http://"+c.API, "TOKEN", c.token).Replace(string(page))) //nolint:errcheck // the page says nothing then
	})
	mux.HandleFunc("POST /said", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		select {
		case said <- string(b):
		default: // it was loaded again
		}
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	browsertest.Open(t).Visit(s.URL)
	const want = "Hello Jane; 3 messages; pong 7; 404"
	select {
	case got := <-said:
		if got != want {
			t.Errorf("the page says %q, want %q", got, want)
		}
	case <-time.After(time.Minute):
		t.Error("the page says nothing")
	}
}
