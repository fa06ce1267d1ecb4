package passcode

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	made := New()
	for _, tt := range []struct {
		name, typed, want string
	}{
		{"as made", made, made},
		{"lower case", strings.ToLower(made), made},
		{"in two", "ABCD-2345", "ABCD2345"},
		{"spaced", " ABCD 2345 ", "ABCD2345"},
		{"digits for letters", "0BCD1345", "OBCDI345"},
		{"too short", "ABCD234", ""},
		{"too long", "ABCD23456", ""},
		{"very long", strings.Repeat(" ", 40) + "ABCD2345", ""},
		{"no such digit", "ABCD2348", ""},
		{"nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, ok := Parse(tt.typed); got != tt.want || ok != (tt.want != "") {
				t.Errorf("Parse(%q) = %q, %v, want %q", tt.typed, got, ok, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("abcd-2345")
	f.Fuzz(func(t *testing.T, typed string) {
		if code, ok := Parse(typed); ok != rule.MatchString(code) {
			t.Fatalf("%q became %q, %v", typed, code, ok)
		}
	})
}
