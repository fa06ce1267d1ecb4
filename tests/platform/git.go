package platform

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// GitServer serves repositories over HTTP on loopback, by git's own backend.
type GitServer struct {
	// Address is host:port.
	Address string

	dir    string
	server *http.Server
}

// StartGit starts a server of repositories below dir.
func StartGit(dir string) (*GitServer, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("git --exec-path: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &GitServer{Address: l.Addr().String(), dir: dir}
	g.server = &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}}
	go g.server.Serve(l) //nolint:errcheck // it ends by close
	return g, os.MkdirAll(dir, 0o755)
}

// URL answers where a repository is.
func (g *GitServer) URL(repository string) string { return "http://" + g.Address + "/" + repository }

// Close stops the server.
func (g *GitServer) Close() { g.server.Close() }

// Push makes a repository with a copy of source in a folder, or another commit of
// that, and answers its URL.
func (g *GitServer) Push(ctx context.Context, source, repository, folder string) (string, error) {
	work := filepath.Join(g.dir, repository+".git")
	if err := os.RemoveAll(filepath.Join(work, folder)); err != nil {
		return "", err
	}
	if err := os.CopyFS(filepath.Join(work, folder), os.DirFS(source)); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"},
		{"add", "."},
		{"-c", "user.name=Alice", "-c", "user.email=alice@example.com", "commit", "-q", "-m", "services: add " + folder},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return g.URL(repository + ".git"), nil
}
