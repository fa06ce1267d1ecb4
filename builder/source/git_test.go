package source

import (
	"context"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// host serves repositories over HTTP: org/repo, with a branch and a tag, and
// org/secret, which wants the password "token".
func host(t *testing.T) (address, commit string) {
	t.Helper()
	dir := t.TempDir()
	commit = repository(t, filepath.Join(dir, "org", "repo"))
	repository(t, filepath.Join(dir, "org", "secret"))
	backend := &cgi.Handler{Path: gitBackend(t), Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch _, password, _ := r.BasicAuth(); {
		case strings.HasPrefix(r.URL.Path, "/org/secret") && password != "token":
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasPrefix(r.URL.Path, "/org/page"):
			w.Write([]byte("<html>a page</html>")) //nolint:errcheck // a test's answer
		case strings.HasPrefix(r.URL.Path, "/org/moved"):
			http.Redirect(w, r, strings.Replace(r.URL.String(), "moved", "repo", 1), http.StatusMovedPermanently)
		default:
			backend.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), commit
}

func gitBackend(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
}

func repository(t *testing.T, dir string) (commit string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "cmd"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "cmd", "main.go"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("package main // 1")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "trunk")
	git("add", ".")
	git("commit", "-q", "-m", "one")
	git("tag", "v1")
	first := git("rev-parse", "HEAD")
	write("package main // 2")
	git("commit", "-q", "-a", "-m", "two")
	git("config", "uploadpack.allowReachableSHA1InWant", "true")
	return first
}

// empty is a directory that git's user may write to.
func empty(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFetch(t *testing.T) {
	t.Parallel()
	address, first := host(t)
	for _, tt := range []struct{ name, path, ref, credentials, want string }{
		{"default branch", "org/repo", "latest", "", "// 2"},
		{"branch", "org/repo", "trunk", "", "// 2"},
		{"tag", "org/repo", "v1", "", "// 1"},
		{"commit", "org/repo", first, "", "// 1"},
		{"private", "org/secret", "", "token", "// 2"},
		{"private with user", "org/secret", "", "me:token", "// 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			repo, err := Parse("http://"+address+"/"+tt.path+"/cmd", []string{address})
			if err != nil {
				t.Fatal(err)
			}
			dir := empty(t)
			commit, err := Git{Trusted: []string{address}}.Fetch(t.Context(), repo, tt.ref, tt.credentials, dir)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(dir, repo.Folder, "main.go"))
			if err != nil || !strings.Contains(string(text), tt.want) || len(commit) != 40 {
				t.Errorf("%q at commit %q, %v", text, commit, err)
			}
			if info, err := os.Lstat(filepath.Join(dir, "link")); err != nil || !info.Mode().IsRegular() {
				t.Errorf("the link is not a plain file: %v %v", info, err)
			}
			if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
				t.Error("the history is there")
			}
		})
	}
}

func TestFetchRefuses(t *testing.T) {
	t.Parallel()
	address, _ := host(t)
	closed := httptest.NewServer(http.NotFoundHandler())
	away := strings.TrimPrefix(closed.URL, "http://")
	closed.Close()
	for _, tt := range []struct{ name, source, ref, credentials, want string }{
		{"no repository", address + "/org/none", "", "", "not found (is it private?)"},
		{"no revision", address + "/org/repo", "v9", "", `revision "v9" not found`},
		{"no commit", address + "/org/repo", strings.Repeat("0a", 20), "", "not found in"},
		{"private", address + "/org/secret", "", "", "needs credentials"},
		{"wrong credentials", address + "/org/secret", "", "guess", "refused the credentials"},
		{"a page", address + "/org/page", "", "", "is not a git repository"},
		{"moved", address + "/org/moved", "", "", "has moved"},
		{"no host", away + "/org/repo", "", "", "cannot be reached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			trusted := []string{address, away}
			repo, err := Parse("http://"+tt.source, trusted)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Git{Trusted: trusted}.Fetch(t.Context(), repo, tt.ref, tt.credentials, empty(t))
			if !isRefusal(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Fetch: %v, want %q", err, tt.want)
			}
			if tt.credentials != "" && strings.Contains(err.Error(), tt.credentials) {
				t.Errorf("the error has the credentials: %v", err)
			}
		})
	}
}

func TestFetchEnds(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	defer s.Close()
	address := strings.TrimPrefix(s.URL, "http://")
	repo, err := Parse(s.URL+"/org/repo", []string{address})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := (Git{Trusted: []string{address}}).Fetch(ctx, repo, "", "", empty(t)); err != context.Canceled {
		t.Errorf("Fetch: %v", err)
	}
}
