package tests

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/micro/platform/tests/platform"
)

// member is somebody at a terminal whose commands have to work, or to fail.
type member struct {
	*platform.Person
	t *testing.T
}

func newMember(t *testing.T, p *platform.Platform, name string) member {
	t.Helper()
	x, err := p.Person(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return member{x, t}
}

func (m member) does(args ...string) string {
	m.t.Helper()
	out, err := m.Micro(m.t.Context(), "", args...)
	if err != nil {
		m.t.Fatalf("micro %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (m member) refused(says string, args ...string) {
	m.t.Helper()
	out, err := m.Micro(m.t.Context(), "", args...)
	if err == nil || !strings.Contains(out, says) {
		m.t.Errorf("micro %s: %v, want an error that says %q\n%s", strings.Join(args, " "), err, says, out)
	}
}

// join invites somebody and has them accept.
func (m member) join(p *platform.Platform, name, role string) member {
	m.t.Helper()
	x := newMember(m.t, p, name)
	m.does("namespace", "invite", x.Email, "--role", role)
	code, err := p.Invitation(m.t.Context(), x.Email)
	if err != nil {
		m.t.Fatal(err)
	}
	x.does("namespace", "accept", code, "--password", consolePassword)
	x.does("login", "--email", x.Email, "--password", consolePassword)
	return x
}

// eventually tries for as long as a change may take to be in force.
func (m member) eventually(what string, ok func() bool) {
	m.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(200 * time.Millisecond); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			m.t.Fatal("not in time: " + what)
		}
	}
}

func (m member) may(args ...string) func() bool {
	return func() bool {
		_, err := m.Micro(m.t.Context(), "", args...)
		return err == nil
	}
}

// TestMembers goes through the life of a membership and of a second factor at the
// terminal.
func TestMembers(t *testing.T) {
	t.Parallel()
	p := start(t, false)
	jane := newMember(t, p, "jane")
	if out, err := jane.Signup(t.Context(), consolePassword, "acme"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	john := jane.join(p, "john", "developer")
	if out := jane.does("namespace", "members", "-o", "json"); !strings.Contains(out, `"john@example.com"`) {
		t.Errorf("members: %s", out)
	}
	john.does("config", "set", "greeting", "hello")
	john.refused("", "namespace", "invite", "mary@example.com", "--role", "viewer")
	jane.does("namespace", "role", john.Email, "viewer")
	john.eventually("a viewer sets no configuration", func() bool { return !john.may("config", "set", "greeting", "x")() })
	john.eventually("a viewer reads it", john.may("config", "get", "greeting"))
	jane.refused("", "namespace", "leave", "acme") // the last owner
	jane.does("namespace", "remove", john.Email)
	john.eventually("who was removed reads nothing", func() bool { return !john.may("config", "get", "greeting")() })
	if out := jane.does("namespace", "members"); strings.Contains(out, john.Email) {
		t.Errorf("members after the removal: %s", out)
	}
	secondFactor(jane)
}

// secondFactor turns one on, logs in with it, and turns it off.
func secondFactor(jane member) {
	jane.t.Helper()
	codes := jane.enable()
	jane.refused("second factor", "login", "--email", jane.Email, "--password", consolePassword)
	jane.does("login", "--email", jane.Email, "--password", consolePassword, "--code", codes[0])
	jane.refused("not correct", "login", "--email", jane.Email, "--password", consolePassword, "--code", codes[0])
	if out := jane.does("user", "2fa", "recover", codes[1]); strings.Contains(out, codes[2]) {
		jane.t.Errorf("new recovery codes have an old one: %s", out)
	}
	jane.refused("not correct", "login", "--email", jane.Email, "--password", consolePassword, "--code", codes[2])
	if out := jane.does("user", "2fa", "status"); !strings.Contains(out, "true") {
		jane.t.Errorf("status: %s", out)
	}
}

// enable turns a second factor on, as a person with an authenticator does, and
// answers the recovery codes.
func (m member) enable() []string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	cmd := m.Command(ctx, micro, "user", "2fa", "enable", "--password", consolePassword)
	in, err := cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	var codes []string
	shown := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, secret, ok := strings.Cut(lines.Text(), "Secret, to be typed: "); ok {
			code, err := totp.GenerateCode(secret, time.Now())
			if err != nil {
				m.t.Fatal(err)
			}
			io.WriteString(in, code+"\n") //nolint:errcheck // the command says what went wrong
		}
		if shown {
			codes = append(codes, strings.TrimSpace(lines.Text()))
		}
		shown = shown || strings.Contains(lines.Text(), "Recovery codes")
	}
	if err := cmd.Wait(); err != nil || len(codes) != 10 {
		m.t.Fatalf("micro user 2fa enable: %v, recovery codes %q", err, codes)
	}
	return codes
}

// TestMemberOrderOutlivesCrash kills namespaces after it has decided and before
// auth has heard: the change is in force once both are back.
func TestMemberOrderOutlivesCrash(t *testing.T) {
	t.Parallel()
	p := start(t, true)
	jane := newMember(t, p, "jane")
	if out, err := jane.Signup(t.Context(), consolePassword, "acme"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	john, mary := jane.join(p, "john", "developer"), jane.join(p, "mary", "developer")
	for _, m := range []member{john, mary} {
		m.does("config", "set", m.Name, "hello")
	}
	p.Kill("auth")
	jane.refused("it is decided", "namespace", "role", john.Email, "viewer")
	jane.refused("it is decided", "namespace", "remove", mary.Email)
	p.Kill("namespaces")
	for _, name := range []string{"auth", "namespaces"} {
		if err := p.Again(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	john.eventually("the new role is in force", func() bool { return !john.may("config", "set", "john", "x")() && john.may("config", "get", "john")() })
	mary.eventually("who was removed is out", func() bool { return !mary.may("config", "get", "mary")() })
	if out := jane.does("namespace", "members"); !strings.Contains(out, "viewer") || strings.Contains(out, mary.Email) {
		t.Errorf("members: %s", out)
	}
}
