package mailbox

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
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
		a, err := Parse(text)
		if (err == nil) != (want != "") || a.Mailbox != want {
			t.Errorf("Parse(%q) = %q, %v; want %q", text, a.Mailbox, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("jane+tag@example.com")
	f.Add("j.a.n.e@gmail.com")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := Parse(text)
		if err != nil {
			return
		}
		if strings.ContainsAny(a.Account, " \r\n\t,;<>\"()\x00") {
			t.Errorf("%q became %q", text, a.Account)
		}
		if again, err := Parse(a.Account); err != nil || again != a {
			t.Errorf("%q became %q, which becomes %q (%v)", text, a.Account, again.Account, err)
		}
	})
}
