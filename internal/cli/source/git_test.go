package source

import (
	"strings"
	"testing"
)

func TestParseGit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want Git
	}{
		{"github.com/acme/shop", Git{"github.com/acme/shop", "", "github.com", "shop"}},
		{"github.com/acme/shop/cart@v2", Git{"github.com/acme/shop/cart", "v2", "github.com", "cart"}},
		{"github.com/acme/shop@latest", Git{"github.com/acme/shop", "", "github.com", "shop"}},
		{"github.com/acme/shop@feature/x", Git{"github.com/acme/shop", "feature/x", "github.com", "shop"}},
		{"https://git.example.com/a/b.git/c@main", Git{"https://git.example.com/a/b.git/c", "main", "git.example.com", "c"}},
		{"https://git.example.com/a/b.git", Git{"https://git.example.com/a/b.git", "", "git.example.com", "b"}},
		{"http://127.0.0.1:3000/a/b.git/", Git{"http://127.0.0.1:3000/a/b.git", "", "127.0.0.1", "b"}},
	} {
		got, err := ParseGit(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("ParseGit(%q) = %+v, %v, want %+v", tt.text, got, err, tt.want)
		}
	}
}

func TestParseGitRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"file:///etc", "git://github.com/a/b", "ssh://git@github.com/a/b", "git@github.com:a/b", "https://user:pass@github.com/a/b",
		"https://user@github.com/a/b", "github.com/a/../../etc", "github.com/a/--upload-pack=x", "github.com/a/b@-x", "github.com/a/b@a..b",
		"github.com/a/b@a b", "github.com/a/b\n", "https://", "https://github.com", "https://github.com/a?x=1", "github.com/a//b",
		"github.com/" + strings.Repeat("a", maxURL),
	} {
		if got, err := ParseGit(text); err == nil {
			t.Errorf("ParseGit(%q) = %+v, want an error", text, got)
		}
	}
}

func TestIsGit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"github.com/a/b": true, "https://x/y": true, "git@github.com:a/b": true, "helloworld": false, "./a/b": false,
		"../x": false, ".": false, "a/b": false, "/github.com/a": false, "file:///etc": true, "main.go": false,
	} {
		if IsGit(text) != want {
			t.Errorf("IsGit(%q) = %v", text, !want)
		}
	}
}

func FuzzParseGit(f *testing.F) {
	for _, s := range []string{"github.com/acme/shop/cart@v2", "https://h.example/a/b.git/c@main", "git@github.com:a/b", "a/b@c@d", "https://[::1]:x/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGit(text)
		if err != nil {
			return
		}
		if g.Name == "" || g.Host == "" || strings.ContainsAny(g.Source, " @\n\x00\\") || strings.HasPrefix(g.Source, "-") || strings.HasPrefix(g.Ref, "-") {
			t.Errorf("ParseGit(%q) = %+v", text, g)
		}
		again, err := ParseGit(g.Source)
		if err != nil || again.Source != g.Source || again.Name != g.Name {
			t.Errorf("ParseGit(%q) = %+v, and again %+v, %v", text, g, again, err)
		}
	})
}
