package source

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/micro/platform/framework/errors"
)

const (
	gitTimeout = 60 * time.Second
	gitBytes   = 200 << 20 // on disk, history and files together
	gitPoll    = 200 * time.Millisecond
	nobody     = 65534
)

// rlimits bound git itself: 4 GiB of address space, and the largest file.
var rlimits = fmt.Sprintf(`ulimit -v 4194304 && ulimit -f %d && exec "$0" "$@"`, gitBytes/512)

// Git fetches repositories with the git binary.
type Git struct {
	// Trusted are hosts (host or host:port) that may be private and plain http.
	Trusted []string
}

// Fetch brings one revision into dir, which must be empty, without its history,
// and answers the commit. ref may be empty or "latest", the default branch.
// credentials are a token, "user:token", or empty.
func (g Git) Fetch(ctx context.Context, repo Repository, ref, credentials, dir string) (commit string, err error) {
	if ref == "" || ref == "latest" {
		ref = "HEAD"
	}
	if err := CheckRef(ref); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, gitTimeout, errors.NewHTTP(422, "fetching %s took longer than %s", repo.URL, gitTimeout))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var pinned []netip.Addr
	if !slices.Contains(g.Trusted, repo.Host) {
		if pinned, err = resolve(ctx, strings.TrimSuffix(repo.Host, ":443")); err != nil {
			return "", err
		}
	}
	if os.Geteuid() == 0 { // git reads what is not trusted: not as root
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return "", err
		}
	}
	go watchSize(ctx, dir, stop)
	run := command{dir: dir, config: config(repo, pinned), secret: secretConfig(repo, credentials)}
	for _, args := range [][]string{
		{"init", "--quiet", "--template=", "."},
		{"fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", repo.URL, ref},
		{"checkout", "--quiet", "--detach", "FETCH_HEAD"},
		{"rev-parse", "HEAD"},
	} {
		if commit, err = run.git(ctx, args...); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return "", cause
			}
			return "", explain(err, repo, ref, credentials != "")
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
		return "", err
	}
	return strings.TrimSpace(commit), checkSize(dir, DefaultLimits.Bytes, DefaultLimits.Entries)
}

// config is what keeps git from doing anything but to fetch from one place. It
// may be seen by everybody on this machine.
func config(repo Repository, pinned []netip.Addr) []string {
	c := []string{
		"protocol.allow=never", "protocol.https.allow=always",
		"http.followRedirects=false", "http.lowSpeedLimit=1000", "http.lowSpeedTime=20",
		"core.hooksPath=/dev/null", "core.symlinks=false", "core.fsmonitor=false", "core.protectNTFS=true", "core.protectHFS=true",
		"credential.helper=", "gc.auto=0", "maintenance.auto=false", "advice.detachedHead=false", "fetch.unpackLimit=1",
	}
	if strings.HasPrefix(repo.URL, "http:") {
		c = append(c, "protocol.http.allow=always")
	}
	if len(pinned) > 0 {
		var to []string
		for _, a := range pinned {
			to = append(to, a.String())
		}
		c = append(c, "http.curloptResolve="+net.JoinHostPort(strings.TrimSuffix(repo.Host, ":443"), "443")+":"+strings.Join(to, ","))
	}
	return c
}

// secretConfig is the credentials, for the environment: arguments can be seen
// by everybody.
func secretConfig(repo Repository, credentials string) []string {
	if credentials == "" {
		return nil
	}
	if !strings.Contains(credentials, ":") {
		user := "x-access-token" // GitHub's name for it; GitLab and Gitea take any
		if repo.Host == "bitbucket.org" {
			user = "x-token-auth"
		}
		credentials = user + ":" + credentials
	}
	return []string{
		"GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=http." + repo.URL + ".extraHeader",
		"GIT_CONFIG_VALUE_0=Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(credentials)),
	}
}

type command struct {
	dir            string
	config, secret []string
}

func (c command) git(ctx context.Context, args ...string) (stdout string, err error) {
	argv := []string{"-c", rlimits, "git"}
	for _, o := range c.config {
		argv = append(argv, "-c", o)
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", append(argv, args...)...)
	cmd.Dir = c.dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/true",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_DIR=" + filepath.Join(c.dir, ".git"), "GIT_WORK_TREE=" + c.dir,
	}, c.secret...)
	// Its own process group, so that its children end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	var out bytes.Buffer
	said := &tail{max: 8 << 10}
	cmd.Stdout, cmd.Stderr = &out, said
	if err := cmd.Run(); err != nil {
		return "", &gitError{said.String(), err}
	}
	return out.String(), nil
}

// gitError is git's failure with what it said.
type gitError struct {
	said string
	err  error
}

func (e *gitError) Error() string { return fmt.Sprintf("git: %v: %s", e.err, e.said) }
func (e *gitError) Unwrap() error { return e.err }

// explain turns what git said into what its user needs to know. Git has no
// codes for this, so its words are read, in the language that was asked for.
func explain(err error, repo Repository, ref string, hadCredentials bool) error {
	var ge *gitError
	if !errors.As(err, &ge) {
		return err
	}
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(ge.said, w) })
	}
	say := func(format string, args ...any) error { return errors.NewHTTP(422, format, args...).Because(err) }
	switch {
	case has("could not read Username", "could not read Password", "Authentication failed", "error: 401", "error: 403"):
		if hadCredentials {
			return say("repository %s refused the credentials", repo.URL)
		}
		return say("repository %s not found, or it is private and needs credentials", repo.URL)
	case has("couldn't find remote ref", "not our ref", "unadvertised object", "no such remote ref", "remote error: upload-pack: not our ref"):
		if ref == "HEAD" {
			return say("%s is not a git repository, or it is empty", repo.URL)
		}
		return say("revision %q not found in %s", errors.Clip(ref), repo.URL)
	case has("is this a git repository", "invalid server response", "not valid: could not determine hash algorithm", "protocol error"):
		return say("%s is not a git repository", repo.URL)
	case has("' not found", "error: 404"):
		return say("repository %s not found (is it private?)", repo.URL)
	case has("redirect", "error: 301", "error: 302", "error: 307", "error: 308"):
		return say("repository %s has moved: use its new address", repo.URL)
	case has("Could not resolve host", "Failed to connect", "Couldn't connect", "Connection refused", "timed out", "low speed"):
		return say("host %s cannot be reached", repo.Host)
	case has("SSL", "certificate"):
		return say("host %s has no valid certificate", repo.Host)
	case has("File size limit exceeded", "write error", "index-pack died", "invalid index-pack output"):
		return say("the repository is larger than %d MiB", gitBytes>>20)
	case has("submodule"):
		return say("submodules are not supported")
	}
	return say("git could not fetch %s", repo.URL)
}

// watchSize ends the work when dir outgrows its limits. Git itself knows none.
func watchSize(ctx context.Context, dir string, stop context.CancelCauseFunc) {
	tick := time.NewTicker(gitPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := checkSize(dir, gitBytes, 2*DefaultLimits.Entries); err != nil {
				stop(err)
				return
			}
		}
	}
}

// checkSize refuses a tree that is too large. Files that vanish meanwhile are
// git's temporary ones.
func checkSize(dir string, limit int64, entries int) error {
	var bytes int64
	n := 0
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it vanished
		}
		if n++; n > entries {
			return refuse("the source has more than %d files and folders", DefaultLimits.Entries)
		}
		if info, err := d.Info(); err == nil && d.Type().IsRegular() {
			bytes += info.Size()
		}
		if bytes > limit {
			return tooLarge(limit)
		}
		return nil
	})
	return err
}

// tail keeps the end of what is written to it.
type tail struct {
	max int
	b   []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > t.max {
		t.b = slices.Clone(t.b[len(t.b)-t.max:])
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.b)) }
