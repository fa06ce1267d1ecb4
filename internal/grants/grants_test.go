package grants

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/micro/platform/proto/audit"
	_ "github.com/micro/platform/proto/auth"
	_ "github.com/micro/platform/proto/broker"
	_ "github.com/micro/platform/proto/config"
	_ "github.com/micro/platform/proto/events"
	_ "github.com/micro/platform/proto/namespaces"
	_ "github.com/micro/platform/proto/network"
	_ "github.com/micro/platform/proto/registry"
	_ "github.com/micro/platform/proto/runtime"
	_ "github.com/micro/platform/proto/store"
	_ "github.com/micro/platform/proto/usage"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{"notes:*:read", true},
		{"notes:Notes.List:write", true},
		{"notes:Notes.*:read", true},
		{"*:*:write", true},
		{"Notes_2:/hello/world:write", true},
		{"", false},
		{"notes", false},
		{"notes:*", false},
		{"notes:*:admin", false},
		{"notes:*:read:write", false},
		{":*:read", false},
		{"notes::read", false},
		{"no*:*:read", false},
		{"notes:Not*:read", false},
		{"notes:*.*:read", false},
		{"notes:Notes.List :read", false},
		{"no\x00tes:*:read", false},
		{"\xff:*:read", false},
		{strings.Repeat("a", 257) + ":*:read", false},
	} {
		g, err := Parse(tt.text)
		if (err == nil) != tt.ok {
			t.Errorf("Parse(%q): %v, want ok %v", tt.text, err, tt.ok)
		}
		if err == nil && g.String() != tt.text {
			t.Errorf("Parse(%q) = %q", tt.text, g)
		}
	}
}

func TestAllow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		grants            string
		service, endpoint string
		want              bool
	}{
		{"notes:*:write", "notes", "Notes.Delete", true},
		{"notes:*:write", "Notes", "notes.delete", true},
		{"notes:*:write", "notes2", "Notes.Delete", false},
		{"notes:*:read", "notes", "Notes.Delete", false},
		{"notes:*:read", "notes", "Notes.List", true},
		{"notes:*:read", "notes", "Notes.ListAll", true},
		{"notes:*:read", "notes", "Notes.Listen", false},
		{"notes:*:read", "notes", "/list", false},
		{"notes:Notes.*:write", "notes", "Notes.Delete", true},
		{"notes:Notes.*:write", "notes", "NotesAdmin.Delete", false},
		{"notes:Notes.*:write", "notes", "Notes.", false},
		{"notes:Notes.Create:write", "notes", "Notes.Create", true},
		{"notes:Notes.Create:write", "notes", "Notes.CreateAll", false},
		{"*:*:read", "store", "Store.List", true},
		{"*:*:read", "store", "Store.Write", false},
		{"*:*:read", "auth", "Accounts.List", true},
		{"*:*:read", "auth", "Auth.Generate", false},
		{"*:*:read", "AUTH", "Accounts.ListAndDelete", false}, // the platform's own go by the table
		{"*:*:write", "runtime", "Runtime.Delete", true},
		{"notes:*:read", "auth", "Auth.Inspect", true},
		{"", "notes", "Notes.List", false},
		{"a:*:write,notes:*:read", "notes", "Notes.List", true},
	} {
		list, err := ParseAll(strings.FieldsFunc(tt.grants, func(r rune) bool { return r == ',' }))
		if err != nil {
			t.Fatal(err)
		}
		if got := Allow(list, tt.service, tt.endpoint); got != tt.want {
			t.Errorf("%s allows %s %s: %v, want %v", tt.grants, tt.service, tt.endpoint, got, tt.want)
		}
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"":                                  false,
		"*:*:read":                          false,
		"config:*:read":                     false,
		"config:Config.Get:read":            false,
		"config:Config.Set:write":           false,
		"notes:Secrets:read":                false,
		"notes:*:write,config:*:read":       false,
		"config:Secrets:read":               true,
		"config:*:read,config:secrets:read": true,
		"config:Config.Get:write":           true,
		"config:*:write":                    true,
		"*:*:write":                         true,
	} {
		list, err := ParseAll(strings.FieldsFunc(text, func(r rune) bool { return r == ',' }))
		if err != nil {
			t.Fatal(err)
		}
		if got := Secrets(list); got != want {
			t.Errorf("%q reads secrets: %v, want %v", text, got, want)
		}
	}
}

func TestMeet(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ a, b, want string }{
		{"*:*:write", "notes:*:read", "notes:*:read"},
		{"notes:*:read", "*:*:write", "notes:*:read"},
		{"notes:*:write", "notes:Notes.List:write", "notes:Notes.List:write"},
		{"notes:Notes.*:write", "notes:*:read", "notes:Notes.*:read"},
		{"notes:Notes.*:write", "NOTES:notes.List:write", "NOTES:notes.List:write"},
		{"notes:Notes.*:write", "*:NotesAdmin.List:write", ""},
		{"notes:Notes.*:write", "notes:Notes.*:write", "notes:Notes.*:write"},
		{"notes:*:write", "lists:*:write", ""},
		{"notes:*:write,store:*:write", "*:*:read,store:Store.Write:write", "notes:*:read,store:*:read,store:Store.Write:write"},
		{"", "*:*:write", ""},
	} {
		parse := func(text string) []Grant {
			list, err := ParseAll(strings.FieldsFunc(text, func(r rune) bool { return r == ',' }))
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		if got := strings.Join(Texts(Meet(parse(tt.a), parse(tt.b))), ","); got != tt.want {
			t.Errorf("%s and %s meet in %s, want %s", tt.a, tt.b, got, tt.want)
		}
	}
}

// A line of the table that names no method would be a grant that nobody meant
// when a method of that name comes.
func TestTableNamesMethods(t *testing.T) {
	t.Parallel()
	methods := map[string]bool{}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				methods[strings.ToLower(string(f.Package())+" "+string(s.Name())+"."+string(s.Methods().Get(j).Name()))] = true
			}
		}
		return true
	})
	for name := range platform {
		if !methods[name] {
			t.Errorf("%q is no method of the platform", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("notes:Notes.*:read")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(g.String()); err != nil || again != g {
			t.Fatalf("%q became %q: %v", text, again, err)
		}
	})
}
