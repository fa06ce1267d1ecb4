package config

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/micro/platform/framework/errors"
)

// Login says whose token a line holds: an account, as seen from an address and
// a current namespace. Changing any of them is logging out.
type Login struct {
	Address, Namespace, Account string
}

func (l Login) key() string {
	return "micro://" + l.Address + "/" + l.Namespace + "/" + l.Account
}

// Token is what a login left behind. Times are in unix seconds.
type Token struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Created      int64  `json:"created"`
	Expiry       int64  `json:"expiry"`
}

// Tokens is the file of logins, a line for each.
type Tokens struct{ path string }

// OpenTokens names the file; nothing is read yet.
func OpenTokens(path string) *Tokens { return &Tokens{path} }

// Get answers the token of a login. There may be none.
func (t *Tokens) Get(l Login) (Token, bool, error) {
	lines, err := t.read()
	if err != nil {
		return Token{}, false, err
	}
	return t.find(lines, l)
}

// Put stores the token of a login.
func (t *Tokens) Put(l Login, token Token) error {
	return t.Refresh(l, func(Token, bool) (Token, bool, error) { return token, true, nil })
}

// Delete forgets the token of a login.
func (t *Tokens) Delete(l Login) error {
	return t.Refresh(l, func(Token, bool) (Token, bool, error) { return Token{}, true, nil })
}

// Refresh hands the token of a login to renew while no other process can
// change it, and stores what renew answers, if it says so. Two processes that
// want a new token at once so ask the server once.
func (t *Tokens) Refresh(l Login, renew func(old Token, found bool) (_ Token, store bool, _ error)) error {
	if err := os.MkdirAll(filepath.Dir(t.path), 0o700); err != nil {
		return err
	}
	unlock, err := lockedfile.MutexAt(t.path + ".lock").Lock()
	if err != nil {
		return err
	}
	defer unlock()
	lines, err := t.read()
	if err != nil {
		return err
	}
	old, found, err := t.find(lines, l)
	if err != nil {
		return err
	}
	token, store, err := renew(old, found)
	if err != nil || !store {
		return err
	}
	return t.write(lines, l, token)
}

// write replaces the line of a login; an empty token takes it out.
func (t *Tokens) write(lines []string, l Login, token Token) error {
	var kept strings.Builder
	for _, line := range lines {
		if key, _, _ := cutLast(line, ":"); key != l.key() {
			kept.WriteString(line + "\n")
		}
	}
	if token != (Token{}) {
		b, err := json.Marshal(token)
		if err != nil {
			return err
		}
		kept.WriteString(l.key() + ":" + base64.StdEncoding.EncodeToString(b) + "\n")
	}
	return replace(t.path, []byte(kept.String()))
}

func (t *Tokens) find(lines []string, l Login) (Token, bool, error) {
	for _, line := range lines {
		key, value, _ := cutLast(line, ":")
		if key != l.key() {
			continue
		}
		var token Token
		b, err := base64.StdEncoding.DecodeString(value)
		if err == nil {
			err = json.Unmarshal(b, &token)
		}
		if err != nil {
			return Token{}, false, t.damaged()
		}
		return token, true, nil
	}
	return Token{}, false, nil
}

// read answers the lines of the file. A file that others may read is refused:
// whoever read it can act as this person.
func (t *Tokens) read() ([]string, error) {
	info, err := os.Stat(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("other users can read your logins in %s: \"chmod 600 %s\", and log in again if somebody may have", t.path, t.path)
	}
	b, err := os.ReadFile(t.path)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if _, _, ok := cutLast(line, ":"); !ok || !strings.HasPrefix(line, "micro://") {
			return nil, t.damaged()
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func (t *Tokens) damaged() error {
	return fmt.Errorf("%s is damaged: remove it, and log in again with \"micro login\"", t.path)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
