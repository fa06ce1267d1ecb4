package namespaces

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/mailbox"
)

func TestThrowaway(t *testing.T) {
	t.Parallel()
	ours, err := readDomains("")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "domains")
	if err := os.WriteFile(file, []byte("# ours\n\nMailinator.example # and below\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs, err := readDomains(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		list    domains
		email   string
		refused bool
	}{
		{ours, "a@mailinator.com", true},
		{ours, "a@MAILINATOR.com", true},
		{ours, "a+b@x.y.mailinator.com", true},
		{ours, "a@notmailinator.com", false},
		{ours, "mailinator.com@example.com", false},
		{ours, "a@gmail.com", false},
		{theirs, "a@mailinator.example", true},
		{theirs, "a@mailinator.com", false},
	} {
		a, err := mailbox.Parse(tt.email)
		if err != nil {
			t.Fatal(err)
		}
		if err := tt.list.check(a); (errors.Code(err) == codes.InvalidArgument) != tt.refused || err != nil != tt.refused {
			t.Errorf("%s: %v, want refused %v", tt.email, err, tt.refused)
		}
	}
	for name, text := range map[string]string{"no domain": "a.example\nb c\n", "an address": "a@b.example"} {
		if _, err := parseDomains(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readDomains(file + ".none"); err == nil {
		t.Error("a file that is not there was read")
	}
}

func FuzzParseDomains(f *testing.F) {
	f.Add("a.example\n# b\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDomains(strings.NewReader(text))
		for domain := range d {
			if err == nil && !mailbox.IsDomain(domain) {
				t.Errorf("%q is no domain", domain)
			}
		}
	})
}
