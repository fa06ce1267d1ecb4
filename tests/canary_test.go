package tests

import (
	"bytes"
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/micro/platform/tests/platform"
	"github.com/micro/platform/tests/platform/platformtest"
)

// TestSecretsAtRest plants secrets of each kind and then looks for them in all
// that the platform keeps on its disks, the files of Postgres and Redis
// included, and in all that it has printed (S10). What is planted to be found is
// found: the search works.
func TestSecretsAtRest(t *testing.T) {
	t.Parallel()
	var printed lockedBuffer
	dir := t.TempDir()
	p, err := platform.Start(t.Context(), platform.Config{Micro: micro, Dir: dir, Log: &printed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { platformtest.Leave(t, p) })
	canary := func() string { return "Canary" + rand.Text() }
	jane, err := p.Person(t.Context(), "jane")
	if err != nil {
		t.Fatal(err)
	}
	password, setting, account, plain := canary(), canary(), canary(), canary()
	if out, err := jane.Signup(t.Context(), password, "acme"); err != nil {
		t.Fatal(err, out)
	}
	must := func(line string) string {
		t.Helper()
		out, err := sh(t.Context(), jane, line)
		if err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
		lines := strings.Split(strings.TrimSpace(out), "\n")
		return lines[len(lines)-1]
	}
	must("micro config set --secret mail.key " + setting)
	must("micro config set mail.host " + plain)
	must("micro auth create account --secret " + account + " robot")
	refuse(t, jane, "", "micro login --username "+jane.Email+" --password "+password+"Wrong")
	secrets := map[string]string{
		"password":            password,
		"secret setting":      setting,
		"an account's secret": account,
		"API token":           must("micro auth token create --grant '*:*:read' ci"),
		"access token":        must("micro user token"),
	}
	p.Stop() // all is on disk
	found := map[string][]string{}
	look := func(where string, b []byte) {
		for name, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				found[name] = append(found[name], where)
			}
		}
		if bytes.Contains(b, []byte(plain)) {
			found["plain"] = append(found["plain"], where)
		}
	}
	err = filepath.WalkDir(filepath.Join(dir, "server"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		look(path, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	look("what was printed", printed.Bytes())
	if len(found["plain"]) == 0 {
		t.Error("what is no secret is not found either: the search does not work")
	}
	for name := range secrets {
		if len(found[name]) > 0 {
			t.Errorf("%s is in %v", name, found[name])
		}
	}
}

// lockedBuffer takes what several processes print.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Bytes answers all that was written.
func (l *lockedBuffer) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}
