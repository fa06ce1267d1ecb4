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
