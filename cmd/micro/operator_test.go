package main

import (
	"strings"
	"testing"
)

// TestFirstPassword shows that the password that everybody knows is only for a
// server that nobody else comes to.
func TestFirstPassword(t *testing.T) {
	t.Parallel()
	const good = "correct horse battery"
	for _, tt := range []struct {
		name, setting, value string
		strangers            bool
	}{
		{name: "a machine of one's own"},
		{"localhost", "MICRO_GATEWAY_ADDRESS", "localhost:80", false},
		{"the plan of every server", "MICRO_NAMESPACES_PLAN", "local", false},
		{"the inbox", "MICRO_SMTP_ADDRESS", "127.0.0.1:9025", false},
		{"all addresses", "MICRO_PROXY_ADDRESS", ":8081", true},
		{"an address", "MICRO_CONSOLE_ADDRESS", "10.0.0.1:8082", true},
		{"a proxy in front", "MICRO_GATEWAY_TRUSTED_PROXIES", "127.0.0.1", true},
		{"a proxy in front, of the other edge", "MICRO_PROXY_TRUSTED_PROXIES", "127.0.0.1", true},
		{"a plan with limits", "MICRO_NAMESPACES_PLAN", "free", true},
		{"mail", "MICRO_SMTP_ADDRESS", "smtp.example.com:465", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			try := func(given string, fresh bool) (password, public string, err error) {
				s := server{environ: map[string]string{"MICRO_ADMIN_PASSWORD": given}}
				if tt.setting != "" {
					s.environ[tt.setting] = tt.value
				}
				p, _, err := s.load()
				if err != nil {
					t.Fatal(err)
				}
				_, err = s.firstPassword(&p, fresh)
				return p.AdminPassword.Reveal(), s.environ["MICRO_AUTH_PUBLIC_PLATFORM"], err
			}
			password, public, err := try("", true)
			if err != nil || (password == "micro") == tt.strangers || len(password) < minAdminPassword == tt.strangers || (public == "true") == tt.strangers {
				t.Errorf("without a password it is %q, and MICRO_AUTH_PUBLIC_PLATFORM %q, %v", password, public, err)
			}
			if password, _, err := try("", false); err != nil || (password == "") != tt.strangers {
				t.Errorf("without a password it is later %q, %v", password, err)
			}
			if _, _, err := try("micro", false); (err != nil) != tt.strangers || err != nil && !strings.Contains(err.Error(), "MICRO_ADMIN_PASSWORD must have at least 12 characters when ") {
				t.Errorf("with the password that everybody knows: %v", err)
			}
			if password, _, err := try(good, true); err != nil || password != good {
				t.Errorf("with a good password it is %q, %v", password, err)
			}
		})
	}
}
