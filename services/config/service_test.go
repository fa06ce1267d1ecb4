package config

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
	configpb "github.com/micro/platform/proto/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func as(t testing.TB, namespace, typ string, scopes ...string) context.Context {
	return identity.With(t.Context(), identity.Caller{ID: "jane", Name: "jane@example.com", Type: typ, Namespace: namespace, Scopes: scopes})
}

func admin(t testing.TB, namespace string) context.Context {
	return as(t, namespace, identity.User, "admin")
}

// token is a context with an admin's API token, whose grants edges hold it to.
func token(t testing.TB, texts ...string) context.Context {
	t.Helper()
	list, err := grants.ParseAll(texts)
	if err != nil {
		t.Fatal(err)
	}
	return identity.With(t.Context(), identity.Caller{ID: "jane", Type: identity.User, Namespace: "demo", Scopes: []string{"admin"}, Grants: list})
}

// setup answers a service whose hub listens.
func setup(t testing.TB) *Service {
	t.Helper()
	pool := pgtest.New(t, "config")
	box, err := seal.New(seal.Cluster{Secret: pgtest.Secret}, "config")
	if err != nil {
		t.Fatal(err)
	}
	s := New(pool, box, slog.New(slog.DiscardHandler), Options{MaxBytes: 4096, MaxValues: 100, History: 5, Watchers: 10})
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	listen(t, s)
	return s
}

// listen makes a service hear of changes.
func listen(t testing.TB, s *Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Listen(ctx) }() //nolint:errcheck // it only ends when told
	t.Cleanup(func() { cancel(); <-done })
}

func set(t testing.TB, s *Service, ctx context.Context, path, data string, secrets bool) int64 {
	t.Helper()
	rsp, err := s.Set(ctx, &configpb.SetRequest{Path: path, Value: &configpb.Value{Data: data}, Options: &configpb.Options{Secret: secrets}})
	if err != nil {
		t.Fatalf("Set(%q, %s): %v", path, data, err)
	}
	return rsp.GetVersion()
}

func get(t testing.TB, s *Service, ctx context.Context, path string, secrets bool) string {
	t.Helper()
	rsp, err := s.Get(ctx, &configpb.GetRequest{Path: path, Options: &configpb.Options{Secret: secrets}})
	if err != nil {
		t.Fatalf("Get(%q): %v", path, err)
	}
	return rsp.GetValue().GetData()
}

// TestSet shows what a Set makes of what was there.
func TestSet(t *testing.T) {
	t.Parallel()
	type pair struct{ path, data string }
	for _, tt := range []struct {
		name string
		sets []pair
		want string // of the whole document
	}{
		{"text", []pair{{"a", `"x"`}}, `{"a":"x"}`},
		{"empty text", []pair{{"a", `""`}}, `{"a":""}`},
		{"deep", []pair{{"a.b.c", `1`}}, `{"a":{"b":{"c":1}}}`},
		{"siblings stay", []pair{{"a", `{"b":1,"c":{"d":2}}`}, {"a", `{"c":{"e":3}}`}}, `{"a":{"b":1,"c":{"d":2,"e":3}}}`},
		{"a leaf replaces a tree", []pair{{"a", `{"b":1}`}, {"a", `true`}}, `{"a":true}`},
		{"a tree replaces a leaf", []pair{{"a", `1`}, {"a.b", `2`}}, `{"a":{"b":2}}`},
		{"no leaves, no change", []pair{{"a", `1`}, {"a", `{}`}, {"b", `{"c":{}}`}}, `{"a":1}`},
		{"root", []pair{{"", `{"b":1,"a":2}`}}, `{"a":2,"b":1}`},
		{"array", []pair{{"a", `[1,{"x.y":{}},[]]`}}, `{"a":[1,{"x.y":{}},[]]}`},
		{"array is replaced whole", []pair{{"a", `[1,2]`}, {"a", `[3]`}}, `{"a":[3]}`},
		{"null", []pair{{"a", `null`}}, `{"a":null}`},
		{"no HTML", []pair{{"a", `"<&>"`}}, `{"a":"<&>"}`},
		{"NUL", []pair{{"a", `"\u0000"`}}, `{"a":"\u0000"}`},
		{"int64", []pair{{"a", `[9223372036854775807,-9223372036854775808,9223372036854775808]`}}, `{"a":[9223372036854775807,-9223372036854775808,9223372036854775808]}`},
		{"float64", []pair{{"a", `[1.7976931348623157e308,5e-324,1e400,0.1,1.0,-0,9007199254740993]`}}, `{"a":[1.7976931348623157e308,5e-324,1e400,0.1,1.0,-0,9007199254740993]}`},
		{"glob and braces", []pair{{"a*/{b}", `1`}}, `{"a*/{b}":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			for _, p := range tt.sets {
				set(t, s, admin(t, "demo"), p.path, p.data, false)
			}
			if got := get(t, s, admin(t, "demo"), "", false); got != tt.want {
				t.Errorf("document = %s, want %s", got, tt.want)
			}
			// The same holds for secrets, through their sealing.
			for _, p := range tt.sets {
				set(t, s, admin(t, "sealed"), p.path, p.data, true)
			}
			if got := get(t, s, admin(t, "sealed"), "", true); got != tt.want {
				t.Errorf("secret document = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, tt := range []struct {
		name, path, data string
		code             codes.Code
		want             string
	}{
		{"two dots", "a..b", `1`, codes.InvalidArgument, `path "a..b" has an empty key`},
		{"dot", ".", `1`, codes.InvalidArgument, `path "." has an empty key`},
		{"dot behind", "a.", `1`, codes.InvalidArgument, `path "a." has an empty key`},
		{"10,000 levels", strings.Repeat("a.", 9999) + "a", `1`, codes.InvalidArgument, "at most 1024"},
		{"65 levels", strings.Repeat("a.", 64) + "a", `1`, codes.InvalidArgument, "path has 65 levels, at most 64"},
		{"path at the limit", strings.Repeat("a", 256) + strings.Repeat("."+strings.Repeat("b", 255), 3), `1`, codes.OK, ""},
		{"key too long", strings.Repeat("a", 257), `1`, codes.InvalidArgument, "at most 256"},
		{"NUL in a path", "a\x00b", `1`, codes.InvalidArgument, "control characters"},
		{"invalid UTF-8 in a path", "a\xffb", `1`, codes.InvalidArgument, "not UTF-8"},
		{"value of 10,000 levels", "a", strings.Repeat("[", 1000) + strings.Repeat("]", 1000), codes.InvalidArgument, "nested too deep"},
		{"value and path are too deep together", strings.Repeat("a.", 62) + "a", `{"b":{"c":1}}`, codes.InvalidArgument, "nested too deep"},
		{"no JSON", "a", `{`, codes.InvalidArgument, "Request is invalid JSON: unexpected end"},
		{"nothing", "a", ``, codes.InvalidArgument, "Request is invalid JSON: "},
		{"more behind", "a", `1 2`, codes.InvalidArgument, "Request is invalid JSON: "},
		{"key twice", "a", `{"b":1,"b":2}`, codes.InvalidArgument, `key "b" is there twice`},
		{"key with a dot", "a", `{"b.c":1}`, codes.InvalidArgument, `key "b.c" of the value has a dot`},
		{"empty key", "a", `{"":1}`, codes.InvalidArgument, `empty key`},
		{"NaN", "a", `NaN`, codes.InvalidArgument, "Request is invalid JSON: "},
		{"leaf as the document", "", `1`, codes.InvalidArgument, "the whole document is an object"},
		{"too many bytes", "a", `"` + strings.Repeat("x", 5000) + `"`, codes.ResourceExhausted, "at most 4096"},
		{"too many values", "a", many(101), codes.ResourceExhausted, "101 values, at most 100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := "bad-" + strings.ReplaceAll(tt.name, " ", "")
			_, err := s.Set(admin(t, ns), &configpb.SetRequest{Path: tt.path, Value: &configpb.Value{Data: tt.data}})
			if errors.Code(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Set = %v %v, want %v %q", errors.Code(err), err, tt.code, tt.want)
			}
			if tt.code == codes.OK {
				return
			}
			if _, err := s.Get(admin(t, ns), &configpb.GetRequest{}); errors.Code(err) != codes.NotFound || err.Error() != "Not found" {
				t.Errorf("a refused Set leaves something: %v", err)
			}
		})
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":1`, i)
	}
	return "{" + b.String()[1:] + "}"
}

// TestContract shows what Micro clients rely on.
func TestContract(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := admin(t, "demo")
	_, err := s.Set(ctx, &configpb.SetRequest{Path: "a"})
	if e := errors.FromError(err); e.HTTP != 400 || e.ID != "config.Config.Update" || e.Detail != "invalid change" {
		t.Errorf("Set without a value = %v", e.JSON())
	}
	for name, err := range map[string]error{
		"Get":    second(s.Get(ctx, &configpb.GetRequest{Path: "a"})),
		"Read":   second(s.Read(ctx, &configpb.ReadRequest{Path: "a"})),
		"Delete": second(s.Delete(ctx, &configpb.DeleteRequest{Path: "a"})),
	} {
		if e := errors.FromError(err); e == nil || e.HTTP != 404 || e.Detail != "Not found" {
			t.Errorf("%s of a namespace that was never written = %v", name, e)
		}
	}
	set(t, s, ctx, "a.b", `1`, false)
	set(t, s, ctx, "a.s", `"hush"`, true)
	for path, want := range map[string]string{
		"a.b": `1`, "a.x": `null`, "a.b.c": `null`, "x.y": `null`, "a": `{"b":1,"s":"[secret]"}`, "a.s": `"[secret]"`,
	} {
		if got := get(t, s, ctx, path, false); got != want {
			t.Errorf("Get(%s) = %s, want %s", path, got, want)
		}
	}
	if got := get(t, s, ctx, "a", true); got != `{"b":1,"s":"hush"}` {
		t.Errorf("Get of secrets = %s", got)
	}
	rsp, err := s.Read(ctx, &configpb.ReadRequest{Namespace: "micro", Path: "a"})
	if c := rsp.GetChange(); err != nil || c.GetChangeSet().GetData() != `{"b":1,"s":"[secret]"}` || c.GetChangeSet().GetFormat() != "json" || c.GetNamespace() != "micro" || c.GetPath() != "a" {
		t.Errorf("Read = %v, %v", rsp, err)
	}
	set(t, s, ctx, "a.s", `"open"`, false)
	if got := get(t, s, ctx, "a.s", false); got != `"open"` {
		t.Errorf("a secret that was written plain = %s", got)
	}
	for _, path := range []string{"a.b", "a.b", "nothing.here", "a.s.x"} {
		if _, err := s.Delete(ctx, &configpb.DeleteRequest{Path: path}); err != nil {
			t.Errorf("Delete(%s): %v", path, err)
		}
	}
	if got := get(t, s, ctx, "", false); got != `{"a":{"s":"open"}}` {
		t.Errorf("after deleting = %s", got)
	}
	if _, err := s.Delete(ctx, &configpb.DeleteRequest{}); err != nil {
		t.Error(err)
	}
	if got := get(t, s, ctx, "", false); got != `{}` {
		t.Errorf("after deleting all = %s", got)
	}
}

func second[T any](_ T, err error) error { return err }

// TestAtRest shows that neither the document nor its versions hold a secret.
func TestAtRest(t *testing.T) {
	t.Parallel()
	s := setup(t)
	set(t, s, admin(t, "demo"), "a", `{"b":"hunter2","c":["hunter2"]}`, true)
	var kept string
	const q = `
		SELECT string_agg(convert_from(document, 'UTF8') || secrets::text, ' ')
		FROM (SELECT document, secrets FROM config.documents UNION ALL SELECT document, secrets FROM config.versions) x`
	if err := s.db.pool.QueryRow(t.Context(), q).Scan(&kept); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(kept, "hunter2") || !strings.Contains(kept, "a.b") {
		t.Errorf("kept: %s", kept)
	}
	// A sealed text that is moved to another path or namespace does not open.
	if _, err := s.db.pool.Exec(t.Context(), `UPDATE config.documents SET secrets = jsonb_build_object('a.b', secrets->'a.c')`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(admin(t, "demo"), &configpb.GetRequest{Path: "a.b", Options: &configpb.Options{Secret: true}}); err == nil {
		t.Error("a secret opens under another path")
	}
}

// TestWho shows who may do what.
func TestWho(t *testing.T) {
	t.Parallel()
	s := setup(t)
	set(t, s, admin(t, "demo"), "a", `"x"`, true)
	anonymous := t.Context()
	limited := identity.With(t.Context(), identity.Caller{ID: "ops", Type: identity.User, Namespace: identity.Platform, Scopes: []string{"admin"}})
	for _, tt := range []struct {
		name                            string
		ctx                             context.Context
		namespace                       string
		read, secrets, set, back, rekey codes.Code
	}{
		{"anonymous", anonymous, "", codes.Unauthenticated, codes.Unauthenticated, codes.Unauthenticated, codes.Unauthenticated, codes.Unauthenticated},
		{"admin", admin(t, "demo"), "demo", 0, 0, 0, 0, codes.PermissionDenied},
		{"admin, namespace as v4 sends it", admin(t, "demo"), "micro", 0, 0, 0, 0, codes.PermissionDenied},
		{"service", as(t, "demo", identity.Service, "service"), "", 0, 0, 0, codes.PermissionDenied, codes.PermissionDenied},
		{"developer", as(t, "demo", identity.User, "developer"), "", 0, 0, codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied},
		{"scope for secrets", as(t, "demo", identity.User, "config.secrets"), "", 0, 0, codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied},
		{"member", as(t, "demo", identity.User), "", 0, codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied},
		{"a token that reads", token(t, "config:*:read"), "", 0, codes.PermissionDenied, 0, 0, codes.PermissionDenied},
		{"a token that reads secrets", token(t, "config:Config.Get:read", "config:Secrets:read"), "", 0, 0, 0, 0, codes.PermissionDenied},
		{"a token that writes", token(t, "config:*:write"), "", 0, 0, 0, 0, codes.PermissionDenied},
		{"another namespace's admin", admin(t, "other"), "demo", codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied},
		{"another namespace that is not there", admin(t, "other"), "nobody", codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied, codes.PermissionDenied},
		{"operator", limited, "demo", 0, 0, 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) { // in turn: the versions add up
			_, read := s.Get(tt.ctx, &configpb.GetRequest{Namespace: tt.namespace})
			_, history := s.History(tt.ctx, &configpb.HistoryRequest{Namespace: tt.namespace})
			_, secrets := s.Get(tt.ctx, &configpb.GetRequest{Namespace: tt.namespace, Options: &configpb.Options{Secret: true}})
			_, set := s.Set(tt.ctx, &configpb.SetRequest{Namespace: tt.namespace, Path: "b", Value: &configpb.Value{Data: "1"}})
			_, del := s.Delete(tt.ctx, &configpb.DeleteRequest{Namespace: tt.namespace, Path: "b"})
			last, _ := s.db.read(t.Context(), "demo")
			_, back := s.Rollback(tt.ctx, &configpb.RollbackRequest{Namespace: tt.namespace, Version: last.Version})
			_, rekey := s.Rekey(tt.ctx, &configpb.RekeyRequest{})
			for name, x := range map[string]struct {
				got  error
				want codes.Code
			}{"Get": {read, tt.read}, "History": {history, tt.read}, "secrets": {secrets, tt.secrets}, "Set": {set, tt.set}, "Delete": {del, tt.set}, "Rollback": {back, tt.back}, "Rekey": {rekey, tt.rekey}} {
				if errors.Code(x.got) != x.want {
					t.Errorf("%s = %v, want %v", name, x.got, x.want)
				}
			}
		})
	}
}

// TestHiddenStays shows that who reads without secrets, changes something and
// writes it back, leaves the secrets as they were.
func TestHiddenStays(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := admin(t, "demo")
	set(t, s, ctx, "mail", `{"key":"hush","list":["quiet"],"port":1}`, true)
	set(t, s, ctx, "mail.host", `"a"`, false)
	shown := get(t, s, ctx, "mail", false)
	if want := `{"host":"a","key":"[secret]","list":"[secret]","port":"[secret]"}`; shown != want {
		t.Fatalf("shown is %s, want %s", shown, want)
	}
	for _, secrets := range []bool{false, true} {
		set(t, s, ctx, "mail", shown, secrets)
		if got, want := get(t, s, ctx, "mail", true), `{"host":"a","key":"hush","list":["quiet"],"port":1}`; got != want {
			t.Errorf("written back as secret %v it is %s, want %s", secrets, got, want)
		}
	}
	set(t, s, ctx, "mail.key", `"[secret]"`, false)
	if got := get(t, s, ctx, "mail.key", true); got != `"hush"` {
		t.Errorf("the secret is %s", got)
	}
	set(t, s, ctx, "text", `"[secret]"`, false) // where none was it is text
	set(t, s, ctx, "mail.key", `"plain"`, false)
	if got := get(t, s, ctx, "", false); !strings.Contains(got, `"key":"plain"`) || !strings.Contains(got, `"text":"[secret]"`) {
		t.Errorf("the document is %s", got)
	}
}
