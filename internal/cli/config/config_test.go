package config

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	f := Open(filepath.Join(t.TempDir(), "deep", "config.json"))
	if v, err := f.Read(); err != nil || v.Current() != "local" {
		t.Fatalf("without a file: %v, %v", v, err)
	}
	err := f.Update(func(v Values) error { return v.Set("git.credentials.github", "secret") })
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.Read()
	if err != nil || v.Get("git.credentials.github") != "secret" || v.Get("git.credentials") != "" || v.Get("git.credentials.github.x") != "" {
		t.Errorf("%v, %v", v, err)
	}
	for _, key := range []string{"", "a..b", "git.credentials", "git.credentials.github.x"} {
		if err := v.Set(key, "x"); err == nil {
			t.Errorf("Set(%q) finds nothing wrong", key)
		}
	}
	if info, err := os.Stat(f.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestDamagedSettings(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(`{"env":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path).Read(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Read = %v, want an error that names the file", err)
	}
}

// TestEnvironmentsOfOthers reads what another command line wrote: a text with
// JSON in it.
func TestEnvironmentsOfOthers(t *testing.T) {
	t.Parallel()
	v := Values{"envs": `{"prod":{"Name":"prod","ProxyAddress":"edge.example.com","Description":""},"local":{"Name":"local","ProxyAddress":"elsewhere:1"}}`}
	for name, want := range map[string]string{"prod": "edge.example.com", "local": LocalAddress, "platform": PlatformAddress} {
		if e, err := v.Environment(name); err != nil || e.ProxyAddress != want {
			t.Errorf("Environment(%s) = %v, %v, want %s", name, e, err, want)
		}
	}
}

func TestAddEnvironment(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, address string
		ok            bool
	}{
		{"mine", "127.0.0.1:18081", true},
		{"platform", "edge.example.com", true},
		{"mine", "https://edge.example.com/", true},
		{"mine", "[::1]:8081", true},
		{"local", "127.0.0.1:1", false},
		{"envs", "x:1", false},
		{"a.b", "x:1", false},
		{"-e", "x:1", false},
		{"mine", "", false},
		{"mine", "x:0", false},
		{"mine", "x:99999", false},
		{"mine", "user@x:1", false},
		{"mine", "x:1:2", false},
		{"mine", "x y:1", false},
	} {
		v := Values{}
		err := v.AddEnvironment(Environment{Name: tt.name, ProxyAddress: tt.address})
		if (err == nil) != tt.ok {
			t.Errorf("AddEnvironment(%s, %s) = %v", tt.name, tt.address, err)
		}
		if tt.ok {
			if e, err := v.Environment(tt.name); err != nil || !strings.Contains(tt.address, e.ProxyAddress) {
				t.Errorf("Environment(%s) = %v, %v", tt.name, e, err)
			}
		}
	}
}

var jane = Login{Address: "127.0.0.1:8081", Namespace: "acme", Account: "jane@example.com"}

func tokens(t *testing.T) *Tokens { return OpenTokens(filepath.Join(t.TempDir(), "tokens")) }

func TestTokens(t *testing.T) {
	t.Parallel()
	f := tokens(t)
	want := Token{"a.b.c", "refresh", 1, 2}
	other := Login{"127.0.0.1:8081", "micro", "admin"}
	for _, l := range []Login{jane, other} {
		if err := f.Put(l, want); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(f.path)
	line := "micro://127.0.0.1:8081/acme/jane@example.com:" +
		base64.StdEncoding.EncodeToString([]byte(`{"access_token":"a.b.c","refresh_token":"refresh","created":1,"expiry":2}`)) + "\n"
	if err != nil || !strings.HasPrefix(string(b), line) {
		t.Errorf("the file has %q, want the line %q", b, line)
	}
	if err := f.Delete(other); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := f.Get(jane); err != nil || !ok || got != want {
		t.Errorf("Get = %v, %v, %v", got, ok, err)
	}
	if _, ok, err := f.Get(other); err != nil || ok {
		t.Errorf("a deleted login is there: %v", err)
	}
	if info, err := os.Stat(f.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestTokensRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"readable by others", jane.key() + ":e30=\n", 0o644, "chmod 600"},
		{"not lines", "hello\n", 0o600, "damaged"},
		{"not base64", jane.key() + ":!!\n", 0o600, "damaged"},
		{"not JSON", jane.key() + ":" + base64.StdEncoding.EncodeToString([]byte("x")) + "\n", 0o600, "damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := tokens(t)
			if err := os.WriteFile(f.path, []byte(tt.text), tt.mode); err != nil {
				t.Fatal(err)
			}
			if _, _, err := f.Get(jane); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Get = %v, want %q", err, tt.want)
			}
		})
	}
}

// TestRefreshOnce lets many ask for a new token at once: one of them renews,
// the others find what it stored.
func TestRefreshOnce(t *testing.T) {
	t.Parallel()
	f := tokens(t)
	if err := f.Put(jane, Token{"old", "refresh", 1, 2}); err != nil {
		t.Fatal(err)
	}
	renewed := 0 // guarded by the lock that Refresh holds
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			err := OpenTokens(f.path).Refresh(jane, func(old Token, found bool) (Token, bool, error) {
				if !found || old.AccessToken == "new" {
					return old, false, nil
				}
				renewed++
				return Token{"new", "refresh2", 2, 3}, true, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, _, err := f.Get(jane); renewed != 1 || got.AccessToken != "new" || err != nil {
		t.Errorf("renewed %d times, %v, %v", renewed, got, err)
	}
}
