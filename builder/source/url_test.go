package source

import (
	"net/url"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	trusted := []string{"127.0.0.1:3000", "git.corp"}
	for _, tt := range []struct{ in, url, folder string }{
		{"github.com/org/repo", "https://github.com/org/repo.git", ""},
		{"github.com/org/repo/sub/dir", "https://github.com/org/repo.git", "sub/dir"},
		{"https://github.com/org/repo", "https://github.com/org/repo.git", ""},
		{"https://github.com/org/repo.git", "https://github.com/org/repo.git", ""},
		{"https://GitHub.com/org/repo/", "https://github.com/org/repo.git", ""},
		{"https://gitlab.com/a/b/c.git/sub", "https://gitlab.com/a/b/c.git", "sub"},
		{"git.example.org/org/repo/sub", "https://git.example.org/org/repo", "sub"},
		{"git.example.org/repo.git/sub", "https://git.example.org/repo.git", "sub"},
		{"https://git.example.org:443/org/repo", "https://git.example.org:443/org/repo", ""},
		{"http://127.0.0.1:3000/org/repo", "http://127.0.0.1:3000/org/repo", ""},
		{"git.corp/org/repo", "https://git.corp/org/repo", ""},
	} {
		got, err := Parse(tt.in, trusted)
		if err != nil || got.URL != tt.url || got.Folder != tt.folder {
			t.Errorf("Parse(%q) = %+v, %v", tt.in, got, err)
		}
	}
}

// TestParseRefuses has what leads elsewhere than to a public host by https
// (S6, T3), and what git would take for something else than an address (T9).
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", "x", "github.com", "github.com/org", "file:///etc/passwd", "ext::sh -c id", "git://github.com/a/b", "ssh://git@github.com/a/b",
		"git@github.com:a/b", "--upload-pack=touch", "-x", "http://github.com/a/b", "https://user:pw@github.com/a/b", "https://github.com:22/a/b",
		"https://127.0.0.1/a/b", "https://[::1]/a/b", "https://2130706433/a/b", "https://0x7f.1/a/b", "https://127.1/a/b", "https://0177.0.0.1/a/b", "https://017700000001/a/b", "https://0x7f000001/a/b", "https://0x7f.0x0.0x0.0x1/a/b",
		"https://127.0.0.1./a/b", "https://localhost./a/b", "https://0.0.0.0/a/b", "https://[::]/a/b", "https://[::ffff:127.0.0.1]/a/b", "https://[::ffff:7f00:1]/a/b", "https://169.254.169.254/a/b", "https://[fe80::1%25eth0]/a/b", "https://localhost/a/b",
		"https://metadata.google.internal/a/b", "https://printer.local/a/b", "github.com/a/b\nc", "github.com/a/../b", "github.com/a/-b",
		"github.com/a/b?x", "github.com/a/b#x", "github.com//b", "https://github.com./a/b", "https://git hub.com/a/b", "https://gíthub.com/a/b",
		"https://" + strings.Repeat("x", 3000) + ".com/a/b", "http://127.0.0.1:3000/a/b", "github.com/a/b/../../c", `github.com/a\b/c`,
	} {
		if got, err := Parse(in, nil); !isRefusal(err) {
			t.Errorf("Parse(%q) = %+v, %v", in, got, err)
		}
	}
}

func TestCheckRef(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"main", "v1.2.3", "feature/x", "0f3a", "v1.0.0+meta", "refs/heads/x"} {
		if err := CheckRef(good); err != nil {
			t.Errorf("CheckRef(%q): %v", good, err)
		}
	}
	for _, bad := range []string{"-x", "--upload-pack=x", "a..b", "a b", "a:b", "/a", "a^", "a~1", "a\x00", "a@{1}", strings.Repeat("x", 201)} {
		if err := CheckRef(bad); !isRefusal(err) {
			t.Errorf("CheckRef(%q): %v", bad, err)
		}
	}
}

func TestCheckFolder(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": ".", ".": ".", "a/b": "a/b", "./a": "a", "a/": "a"} {
		if got, err := CheckFolder(in); err != nil || got != want {
			t.Errorf("CheckFolder(%q) = %q, %v", in, got, err)
		}
	}
	for _, bad := range []string{"..", "../x", "a/../../x", "/etc", `a\b`, "a\x00"} {
		if _, err := CheckFolder(bad); !isRefusal(err) {
			t.Errorf("CheckFolder(%q): %v", bad, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"github.com/a/b/c", "https://git.example.org/a.git/b", "http://127.0.0.1/a/b", "-x", "https://a:b@c.d/e/f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r, err := Parse(in, nil)
		if err != nil {
			if !isRefusal(err) {
				t.Errorf("an error that is no refusal: %v", err)
			}
			return
		}
		u, err := url.Parse(r.URL)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Host != r.Host || !public(r.Host) || strings.ContainsAny(r.URL, "\n\r\x00 ") {
			t.Errorf("Parse(%q) = %+v, %v", in, r, err)
		}
		if _, err := CheckFolder(r.Folder); err != nil {
			t.Errorf("Parse(%q): folder %q", in, r.Folder)
		}
	})
}
