package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Person is somebody at a terminal: a home directory of their own, and the
// platform as the environment they work in.
type Person struct {
	Name, Email, Home string

	platform *Platform
}

// Person makes the home of a person whose command line talks to this server.
func (p *Platform) Person(ctx context.Context, name string) (*Person, error) {
	x := &Person{Name: name, Email: name + "@example.com", Home: filepath.Join(p.Dir, name), platform: p}
	if err := os.MkdirAll(x.Home, 0o700); err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"env", "add", "platform", p.Proxy}, {"env", "set", "platform"}} {
		if out, err := x.Micro(ctx, "", args...); err != nil {
			return nil, fmt.Errorf("micro %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return x, nil
}

// Command prepares a program at the person's terminal.
func (x *Person) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = x.Home
	cmd.Env = append(Clean(os.Environ()), "HOME="+x.Home,
		"PATH="+filepath.Dir(x.platform.Micro)+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, name := range []string{"GOMODCACHE", "GOCACHE"} { // a home of one's own, the caches of the machine
		if out, err := exec.CommandContext(ctx, "go", "env", name).Output(); err == nil {
			cmd.Env = append(cmd.Env, name+"="+strings.TrimSpace(string(out)))
		}
	}
	return cmd
}

// Micro runs the command line and answers what it printed, errors included.
func (x *Person) Micro(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := x.Command(ctx, x.platform.Micro, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Signup goes through micro signup, with the code from the inbox.
func (x *Person) Signup(ctx context.Context, password, namespace string) (string, error) {
	cmd := x.Command(ctx, x.platform.Micro, "signup", "--email", x.Email, "--password", password, "--namespace", namespace)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	code, err := x.platform.Code(ctx, x.Email)
	if err != nil {
		cmd.Process.Kill() //nolint:errcheck // the mail is what went wrong
	}
	io.WriteString(in, code+"\n") //nolint:errcheck // the command says what went wrong
	in.Close()
	err = errors.Join(err, cmd.Wait())
	return out.String(), err
}

// code is how a sign-up code stands in a mail, alone on its line.
var code = regexp.MustCompile(`(?m)^\s*([A-Z0-9]{8})\s*$`)

// invitation is how the code of one stands in a mail.
var invitation = regexp.MustCompile(`(?m)^\s*micro namespace accept ([A-Z2-7]{26})\s*$`)

// Code reads the newest sign-up code of an address from the inbox.
func (p *Platform) Code(ctx context.Context, email string) (string, error) {
	return p.find(ctx, email, code)
}

// Invitation reads the newest code of an invitation of an address.
func (p *Platform) Invitation(ctx context.Context, email string) (string, error) {
	return p.find(ctx, email, invitation)
}

func (p *Platform) find(ctx context.Context, email string, code *regexp.Regexp) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		text, err := p.mail(ctx, email)
		if m := code.FindStringSubmatch(text); m != nil {
			return m[1], nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no code for %s in the inbox: %v %s", email, err, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *Platform) mail(ctx context.Context, email string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Inbox+"/messages?to="+url.QueryEscape(email), nil)
	if err != nil {
		return "", err
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer rsp.Body.Close()
	var messages []struct {
		Text string `json:"text"`
	}
	if err := json.NewDecoder(rsp.Body).Decode(&messages); err != nil || len(messages) == 0 {
		return "", err
	}
	return messages[0].Text, nil
}
