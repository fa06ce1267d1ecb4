package runtime

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/micro/platform/framework/errors"
)

func TestCheckSource(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		source string
		ok     bool
	}{
		{"github.com/acme/hello", true},
		{"https://git.example.com/acme/hello", true},
		{"github.com/acme/mono/services/hello", true},
		{"source://hello:latest", true},
		{"source://hello", true},
		{"", false},
		{"source://", false},
		{"source://Hello:latest", false},
		{"source://hello:a/../b", false},
		{"/home/me/hello", false},
		{"../hello", false},
		{"--upload-pack=x", false},
		{"http://localhost:3000/acme/hello", true}, // the builder knows whether that host is trusted
		{"git://github.com/acme/hello", false},
		{"ext::sh -c x", false},
		{"ssh://github.com/acme/hello", false},
		{"https://user:secret@github.com/acme/hello", false},
		{"github.com/acme/hello\n", false},
		{strings.Repeat("a", maxSource+1), false},
	} {
		if err := checkSource(tt.source); (err == nil) != tt.ok {
			t.Errorf("checkSource(%q) = %v", errors.Clip(tt.source), err)
		}
	}
}

func TestCheckEnv(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		env string
		ok  bool
	}{
		{"A=1", true}, {"A=", true}, {"A=b=c", true}, {"MICRO_LOG_LEVEL=debug", true},
		{"A", false}, {"=1", false}, {"1A=1", false}, {"A B=1", false}, {"A-B=1", false},
		{"MICRO_CLIENT_SECRET=x", false}, {"MICRO_PROXY=evil:1", false}, {"PORT=1", false}, {"HOME=/", false},
	} {
		if err := checkEnv([]string{tt.env}, nil); (err == nil) != tt.ok {
			t.Errorf("checkEnv(%q) = %v", tt.env, err)
		}
	}
	if err := checkEnv(strings.Split(strings.Repeat("A=1,", maxEnv)+"A=1", ","), nil); err == nil {
		t.Error("one entry too many is taken")
	}
}

func FuzzCheckName(f *testing.F) {
	f.Add("hello", "latest")
	f.Add("a.b-c", "feature/x")
	f.Add("a/../b", "..")
	f.Fuzz(func(t *testing.T, name, version string) {
		gotName, gotVersion, err := checkName(name, version)
		if err != nil {
			if !utf8.ValidString(err.Error()) || len(err.Error()) > 400 {
				t.Errorf("the error is %q", err)
			}
			return
		}
		// Keys are made with slashes, and accounts and paths of names.
		if strings.ContainsAny(gotName, "/\x00 ") || strings.Contains(gotVersion, "..") || len(gotName) > 63 || len(gotVersion) > 64 || gotVersion == "" {
			t.Errorf("checkName(%q, %q) = %q, %q", name, version, gotName, gotVersion)
		}
	})
}

func FuzzCheckSource(f *testing.F) {
	f.Add("source://hello:latest")
	f.Add("github.com/acme/hello")
	f.Add("https://a:b@c")
	f.Fuzz(func(t *testing.T, source string) {
		if checkSource(source) != nil {
			return
		}
		if strings.ContainsAny(source, "@\x00\n \\") || strings.HasPrefix(source, "-") || strings.HasPrefix(source, "/") || !utf8.ValidString(source) {
			t.Errorf("%q is taken as a source", source)
		}
	})
}

func FuzzOneLine(f *testing.F) {
	f.Add("a\nb")
	f.Add("\x1b[31mred\x00")
	f.Fuzz(func(t *testing.T, reason string) {
		got := oneLine(reason)
		if !utf8.ValidString(got) || !printable(got) || len(got) > maxDetail+len("…") {
			t.Errorf("oneLine(%q) = %q", reason, got)
		}
		if s := storable(reason, 10); len(s) > 10 || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			t.Errorf("storable(%q) = %q", reason, s)
		}
	})
}
