package tests

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
)

// TestCredentials goes through the ways in and out at a terminal: API tokens,
// another signing key, a forgotten password, a log-out.
func TestCredentials(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			k := newKeeper(t, start(t, mode.apart))
			k.apiToken(t)
			k.rotation(t)
			k.forgotten(t)
			k.audited(t)
			k.logout(t)
		})
	}
}

// keeper is a person who looks after what opens a namespace.
type keeper struct {
	*platform.Person
	p    *platform.Platform
	ctx  context.Context
	root *platform.Person // an operator
}

func newKeeper(t *testing.T, p *platform.Platform) *keeper {
	k := &keeper{p: p, ctx: t.Context()}
	for name, at := range map[string]**platform.Person{"jane": &k.Person, "root": &k.root} {
		x, err := p.Person(k.ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		*at = x
	}
	if out, err := k.Signup(k.ctx, "correct horse", "acme"); err != nil {
		t.Fatalf("sign up: %v\n%s", err, out)
	}
	k.must(t, k.root, "login", "--username", "admin", "--password", "micro")
	return k
}

// must runs a command and answers its last line.
func (k *keeper) must(t *testing.T, x *platform.Person, args ...string) string {
	t.Helper()
	out, err := x.Micro(k.ctx, "", args...)
	if err != nil {
		t.Fatalf("micro %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}

// status asks the gateway with a token.
func (k *keeper) status(t *testing.T, method, path, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(k.ctx, method, "http://"+k.p.API+path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	rsp.Body.Close()
	return rsp.StatusCode
}

const accountsPath = "/platform/v1/accounts"

// refusedSoon waits for what is promised to take a second at most; the machine
// may be busy.
func (k *keeper) refusedSoon(t *testing.T, what, token string) {
	t.Helper()
	for started := time.Now(); k.status(t, "GET", accountsPath, token) != http.StatusUnauthorized; <-time.After(10 * time.Millisecond) {
		if time.Since(started) > 5*time.Second {
			t.Fatalf("%s is still good", what)
		}
	}
}

func (k *keeper) apiToken(t *testing.T) {
	token := k.must(t, k.Person, "auth", "token", "create", "ci", "--grant", "auth:*:read", "--expires", "1d")
	if got := k.status(t, "GET", accountsPath, token); got != http.StatusOK {
		t.Errorf("an API token reads: %d", got)
	}
	if got := k.status(t, "POST", accountsPath, token); got != http.StatusForbidden {
		t.Errorf("an API token that reads writes: %d", got)
	}
	if got := k.status(t, "GET", "/platform/v1/services", token); got != http.StatusForbidden {
		t.Errorf("an API token for auth reads services: %d", got)
	}
	cmd := k.Command(k.ctx, k.p.Micro, "auth", "list", "accounts")
	cmd.Env = append(cmd.Env, "MICRO_TOKEN="+token)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), k.Email) {
		t.Errorf("MICRO_TOKEN at the command line: %v\n%s", err, out)
	}
	k.must(t, k.Person, "auth", "token", "revoke", "ci")
	k.refusedSoon(t, "a revoked API token", token)
}

func (k *keeper) rotation(t *testing.T) {
	before := k.must(t, k.Person, "user", "token")
	k.must(t, k.root, "auth", "keys", "rotate", "--now")
	if got := k.status(t, "GET", accountsPath, before); got != http.StatusOK {
		t.Errorf("a token of the key before: %d", got)
	}
	k.must(t, k.Person, "login", "--username", k.Email, "--password", "correct horse")
	after := k.must(t, k.Person, "user", "token")
	if got := k.status(t, "GET", accountsPath, after); got != http.StatusOK {
		t.Errorf("a token of the new key: %d", got)
	}
	k.must(t, k.Person, "auth", "list", "accounts")
}

func (k *keeper) forgotten(t *testing.T) {
	before := k.must(t, k.Person, "user", "token")
	signup, err := k.p.Code(k.ctx, k.Email)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := k.Micro(k.ctx, "", "user", "reset", "password", "--email", k.Email); !strings.Contains(out, "a code was sent") {
		t.Fatalf("reset password: %v\n%s", err, out)
	}
	code := signup
	for deadline := time.Now().Add(20 * time.Second); code == signup; <-time.After(50 * time.Millisecond) {
		if code, err = k.p.Code(k.ctx, k.Email); err != nil || time.Now().After(deadline) {
			t.Fatalf("no code for a new password: %v", err)
		}
	}
	k.must(t, k.Person, "user", "reset", "password", "--email", k.Email, "--code", code, "--new-password", "another horse")
	k.refusedSoon(t, "a login from before the new password", before)
	k.must(t, k.Person, "login", "--username", k.Email, "--password", "another horse")
}

// audited shows that what was done so far is in the log, and what an operator
// does in the namespace too.
func (k *keeper) audited(t *testing.T) {
	k.must(t, k.Person, "config", "set", "mail.key", "hunter2")
	if got := k.status(t, "GET", "/platform/v1/config/mail.key?namespace=acme", k.must(t, k.root, "user", "token")); got != http.StatusOK {
		t.Errorf("an operator reads a setting: %d", got)
	}
	for _, tt := range []struct{ want, line string }{
		{`auth.Tokens.Create +name=ci .*OK +127.0.0.1`, "micro audit --action 'auth.Tokens.*'"},
		{`auth.Passwords.Reset +account=.*OK`, "micro audit --action 'auth.Passwords.*'"},
		{`"path": "mail.key"`, "micro audit --since 1h --account " + k.Email + " -o json"},
		{`admin \(operator\) +config.Config.Get +path=mail.key +OK`, "micro audit --operators"},
		{`"action":"config.Config.Set","target":{"path":"mail.key"},"outcome":"OK"`, "micro audit export --target mail.key"},
		{`[0-9]+ rows, as they were written, up to [0-9a-f]{64}`, "micro audit verify"},
	} {
		out, err := sh(k.ctx, k.Person, tt.line)
		if matched, _ := regexp.MatchString(tt.want, out); err != nil || !matched || strings.Contains(out, "hunter2") {
			t.Errorf("%s: %v\n%s", tt.line, err, out)
		}
	}
}

func (k *keeper) logout(t *testing.T) {
	token := k.must(t, k.Person, "user", "token")
	k.must(t, k.Person, "logout")
	k.refusedSoon(t, "a login that has ended", token)
}
