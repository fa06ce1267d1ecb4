package edge

import (
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/reserved"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ method, service, endpoint string }{
		{"/helloworld.Helloworld/Call", "helloworld", "Helloworld.Call"},
		{"/foo.bar.Baz/Call", "foo.bar", "Baz.Call"},
		{"/my-svc.MySvc/Do", "my-svc", "MySvc.Do"},
		{"/Helloworld/Call", "", ""},
		{"/.Helloworld/Call", "", ""},
		{"Call", "", ""},
		{"", "", ""},
	} {
		service, endpoint, err := split(tt.method)
		if service != tt.service || endpoint != tt.endpoint || (err == nil) != (tt.service != "") {
			t.Errorf("split(%q) = %q, %q, %v", tt.method, service, endpoint, err)
		}
	}
}

// FuzzMethod shows that no method reaches a component but those on the list,
// however it is written.
func FuzzMethod(f *testing.F) {
	for _, s := range []string{"/auth.Components/Token", "//auth.Auth/Token", "/auth.Auth/../Components/Token", "/auth.Components/Token/", "/AUTH.Auth/Token", "/builder.Builder/Build"} {
		f.Add(s)
	}
	known, err := methods()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		service, _, err := split(name)
		if err != nil || !reserved.Service(service) {
			return
		}
		if m, ok := known[name]; ok && components[strings.TrimPrefix(name[:strings.LastIndex(name, "/")], "/")] != m.component {
			t.Errorf("%q goes to %s", name, m.component)
		}
	})
}

// FuzzNamespace shows that a caller with a token never gets into another
// namespace by what it asks for, unless it is an operator.
func FuzzNamespace(f *testing.F) {
	for _, s := range []string{"", "acme", "micro", "other", "ACME", "*", "acme\x00", " acme", "аcme"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, asked string) {
		c := &identity.Caller{ID: "jane", Namespace: "acme", Type: identity.User, Scopes: []string{"admin"}}
		if ns, err := namespace(c, metadata.Pairs(namespaceKey, asked)); err == nil && ns != "acme" {
			t.Errorf("%q leads into %q", asked, ns)
		}
	})
}
