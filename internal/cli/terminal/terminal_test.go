package terminal

import "testing"

func TestInert(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain äöü €\ttab\nline": "plain äöü €\ttab\nline",
		"\x1b[2Jgone":            `\x1b[2Jgone`,
		"a\rb\x07\x7f":           `a\x0db\x07\x7f`,
		"c1 \u009b2J":            `c1 \x9b2J`,
		"\u202eevil":             `\u202eevil`,
		"bad \xff":               "bad \uFFFD",
	} {
		if got := Inert(text); got != want {
			t.Errorf("Inert(%q) = %q, want %q", text, got, want)
		}
	}
	if got := OneLine("a\nb\tc\r\n\x1bd"); got != `a b c \x1bd` {
		t.Errorf("OneLine = %q", got)
	}
}
