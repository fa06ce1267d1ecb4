package namespaces

import (
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{
		"abc": true, "jane-space": true, "a23": true, strings.Repeat("a", 31): true, "microscope": true, "demo": true,
		"": false, "ab": false, strings.Repeat("a", 32): false, "1ab": false, "-ab": false, "ab-": false, "a_b": false, "Abc": false,
		"аbc": false, "ab\n": false, "a.b": false, "xn--p1ai": false,
		"micro": false, "m1cro": false, "rnicro": false, "mi-cro": false, "micro-support": false, "my-micr0": false, "admin": false, "adm1n": false, "auth": false,
	} {
		if err := checkName(name); (err == nil) != good {
			t.Errorf("checkName(%q) = %v", name, err)
		}
	}
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	for wish, want := range map[string]string{
		"jane": "jane", "jane.doe": "jane-doe", "j": "j-space", "admin": "admin-space", "42": "n42", "micro": "space", "": "n-space", "---": "n-space",
		strings.Repeat("long", 20): strings.Repeat("long", 5),
	} {
		if got := candidates(wish)[0]; got != want {
			t.Errorf("candidates(%q) starts with %q, want %q", wish, got, want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"jane@example.com":                       "jane@example.com",
		" Jane@Example.COM ":                     "jane@example.com",
		"jane+tag@example.com":                   "jane@example.com",
		"j.a.n.e+tag@gmail.com":                  "jane@gmail.com",
		"j.a.n.e@googlemail.com":                 "jane@gmail.com",
		"j.a.n.e@example.com":                    "j.a.n.e@example.com",
		"+tag@example.com":                       "+tag@example.com",
		"jane@sub.xn--bcher-kva.de":              "jane@sub.xn--bcher-kva.de",
		"":                                       "",
		"jane":                                   "",
		"jane@":                                  "",
		"@example.com":                           "",
		"jane@localhost":                         "",
		"jane@10.0.0.1":                          "",
		"jane@[10.0.0.1]":                        "",
		"a@b@example.com":                        "",
		"jane..doe@example.com":                  "",
		".jane@example.com":                      "",
		"jane@example..com":                      "",
		"jane@-example.com":                      "",
		"Jane <jane@example.com>":                "",
		`"jane"@example.com`:                     "",
		"jane@example.com\r\nBcc: x@y":           "",
		"jane@example.com,joe@x.com":             "",
		"jane@exаmple.com":                       "",
		strings.Repeat("a", 65) + "@example.com": "",
		"jane@" + strings.Repeat(strings.Repeat("a", 60)+".", 4) + "com": "jane@" + strings.Repeat(strings.Repeat("a", 60)+".", 4) + "com",
		"jane@" + strings.Repeat(strings.Repeat("a", 62)+".", 4) + "com": "",
	} {
		a, err := parseAddress(text)
		if (err == nil) != (want != "") || a.mailbox != want {
			t.Errorf("parseAddress(%q) = %q, %v; want %q", text, a.mailbox, err, want)
		}
	}
}

func FuzzCandidates(f *testing.F) {
	f.Add("jane.doe")
	f.Add("micro-admin")
	f.Fuzz(func(t *testing.T, wish string) {
		for _, name := range candidates(wish) {
			if err := checkName(name); err != nil {
				t.Errorf("candidate %q of %q: %v", name, wish, err)
			}
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	f.Add("jane+tag@example.com")
	f.Add("j.a.n.e@gmail.com")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAddress(text)
		if err != nil {
			return
		}
		if strings.ContainsAny(a.account, " \r\n\t,;<>\"()\x00") {
			t.Errorf("%q became %q", text, a.account)
		}
		if again, err := parseAddress(a.account); err != nil || again != a {
			t.Errorf("%q became %q, which becomes %q (%v)", text, a.account, again.account, err)
		}
	})
}
