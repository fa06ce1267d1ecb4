package audit

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	auditpb "github.com/micro/platform/proto/audit"
)

func asComponent(t testing.TB) context.Context {
	return identity.With(t.Context(), identity.Caller{ID: "runtime", Type: identity.Component, Namespace: identity.Platform})
}

func as(t testing.TB, namespace string, scopes ...string) context.Context {
	return identity.With(t.Context(), identity.Caller{ID: "jane", Type: identity.User, Namespace: namespace, Scopes: scopes})
}

func setup(t testing.TB) *Service {
	t.Helper()
	s := New(pgtest.New(t, "audit"), slog.New(slog.DiscardHandler), Options{Keep: 30 * 24 * time.Hour})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) }) //nolint:errcheck // it ends by stop
	t.Cleanup(func() { stop(); running.Wait() })
	return s
}

// do writes down a call, and how it ended if outcome says so.
func do(t testing.TB, s *Service, namespace, account, action, outcome string, target map[string]string) int64 {
	t.Helper()
	rsp, err := s.Begin(asComponent(t), &auditpb.BeginRequest{Entry: &auditpb.Entry{
		Namespace: namespace, Account: account, AccountType: "user", Operator: account == "root", Action: action, Target: target, Address: "192.0.2.1", RequestId: "r",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if outcome != "" {
		if _, err := s.writer.add(t.Context(), row{Namespace: namespace, Begun: rsp.GetId(), Outcome: outcome}); err != nil {
			t.Fatal(err)
		}
	}
	return rsp.GetId()
}

// lines shows entries, one in a line.
func lines(entries []*auditpb.Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%s %s %s %s", e.GetAccount(), e.GetAction(), e.GetTarget()["name"], e.GetOutcome()))
	}
	return out
}

func TestList(t *testing.T) {
	t.Parallel()
	s := setup(t)
	do(t, s, "acme", "jane", "runtime.Runtime.Create", "OK", map[string]string{"name": "notes"})
	middle := do(t, s, "acme", "joe", "runtime.Runtime.Delete", "PermissionDenied", map[string]string{"name": "notes"})
	do(t, s, "acme", "root", "config.Config.Set", "OK", map[string]string{"name": "x"})
	do(t, s, "acme", "jane", "auth.Rules.Create", "", nil) // cut off
	do(t, s, "other", "eve", "runtime.Runtime.Create", "OK", nil)
	all := []string{
		"jane auth.Rules.Create  ",
		"root config.Config.Set x OK",
		"joe runtime.Runtime.Delete notes PermissionDenied",
		"jane runtime.Runtime.Create notes OK",
	}
	for _, tt := range []struct {
		name string
		req  *auditpb.ListRequest
		want []string
	}{
		{"all", &auditpb.ListRequest{}, all},
		{"its own, as existing clients name it", &auditpb.ListRequest{Namespace: "micro"}, all},
		{"page", &auditpb.ListRequest{Limit: 1, Before: middle}, all[3:]},
		{"account", &auditpb.ListRequest{Filter: &auditpb.Filter{Account: "joe"}}, all[2:3]},
		{"action", &auditpb.ListRequest{Filter: &auditpb.Filter{Action: "config.Config.Set"}}, all[1:2]},
		{"actions", &auditpb.ListRequest{Filter: &auditpb.Filter{Action: "runtime.*"}}, all[2:]},
		{"target", &auditpb.ListRequest{Filter: &auditpb.Filter{Target: "x"}}, all[1:2]},
		{"operators", &auditpb.ListRequest{Filter: &auditpb.Filter{Operator: true}}, all[1:2]},
		{"not yet", &auditpb.ListRequest{Filter: &auditpb.Filter{Since: 1 << 50}}, nil},
		{"no more", &auditpb.ListRequest{Filter: &auditpb.Filter{Until: 1}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rsp, err := s.List(as(t, "acme", "admin"), tt.req)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, lines(rsp.GetEntries())); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := setup(t)
	entry := &auditpb.Entry{Namespace: "acme", Account: "jane", Action: "a.A.Do"}
	long := strings.Repeat("x", maxName+1)
	for _, tt := range []struct {
		name string
		call func() error
		want codes.Code
	}{
		{"a member begins", func() error {
			_, err := s.Begin(as(t, "acme", "admin"), &auditpb.BeginRequest{Entry: entry})
			return err
		}, codes.PermissionDenied},
		{"a member ends", func() error { _, err := s.End(as(t, "acme", "admin"), &auditpb.EndRequest{Id: 1}); return err }, codes.PermissionDenied},
		{"not an admin", func() error { _, err := s.List(as(t, "acme"), &auditpb.ListRequest{}); return err }, codes.PermissionDenied},
		{"nobody", func() error { _, err := s.List(t.Context(), &auditpb.ListRequest{}); return err }, codes.Unauthenticated},
		{"another namespace", func() error {
			_, err := s.Verify(as(t, "acme", "admin"), &auditpb.VerifyRequest{Namespace: "other"})
			return err
		}, codes.PermissionDenied},
		{"no action", func() error { _, err := s.Begin(asComponent(t), &auditpb.BeginRequest{}); return err }, codes.InvalidArgument},
		{"long", func() error {
			_, err := s.Begin(asComponent(t), &auditpb.BeginRequest{Entry: &auditpb.Entry{Namespace: "acme", Account: long, Action: "a"}})
			return err
		}, codes.InvalidArgument},
		{"limit", func() error { _, err := s.List(as(t, "acme", "admin"), &auditpb.ListRequest{Limit: 1001}); return err }, codes.InvalidArgument},
		{"before", func() error { _, err := s.List(as(t, "acme", "admin"), &auditpb.ListRequest{Before: -1}); return err }, codes.InvalidArgument},
		{"until", func() error {
			_, err := s.List(as(t, "acme", "admin"), &auditpb.ListRequest{Filter: &auditpb.Filter{Since: 2, Until: 1}})
			return err
		}, codes.InvalidArgument},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.call(); errors.Code(err) != tt.want {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

// exported is a stream that keeps what it is sent.
type exported struct {
	grpc.ServerStream
	ctx     context.Context
	entries []*auditpb.Entry
}

func (e *exported) Context() context.Context { return e.ctx }
func (e *exported) Send(x *auditpb.Entry) error {
	e.entries = append(e.entries, x)
	return nil
}

// TestChain shows that many can write at once, that an end is written once,
// and that the chain holds until somebody changes the past.
func TestChain(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const n = 50
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			id := do(t, s, "acme", "jane", "a.A.Do", "OK", map[string]string{"name": fmt.Sprint(i), "path": "ä\u2028<>&"})
			if _, err := s.End(asComponent(t), &auditpb.EndRequest{Namespace: "acme", Id: id, Outcome: "Aborted"}); err != nil {
				t.Error(err)
			}
			if _, err := s.writer.add(t.Context(), row{Namespace: "acme", Begun: id, Outcome: "OK"}); !errors.Is(err, errEnded) {
				t.Errorf("a second end: %v", err)
			}
			if _, err := s.writer.add(t.Context(), row{Namespace: "acme", Begun: 1 << 40, Outcome: "OK"}); !errors.Is(err, errNotBegun) {
				t.Errorf("the end of nothing: %v", err)
			}
		})
	}
	all.Wait()
	out := &exported{ctx: as(t, "acme", "admin")}
	if err := s.Export(&auditpb.ExportRequest{}, out); err != nil || len(out.entries) != n {
		t.Fatalf("%d entries, %v, want %d", len(out.entries), err, n)
	}
	for i, e := range out.entries {
		if e.GetOutcome() != "OK" || i > 0 && e.GetId() <= out.entries[i-1].GetId() {
			t.Errorf("entry %d: %v", i, e)
		}
	}
	verify := func() *auditpb.VerifyResponse {
		rsp, err := s.Verify(as(t, "acme", "admin"), &auditpb.VerifyRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return rsp
	}
	if v := verify(); v.GetRows() != 2*n || v.GetBroken() != 0 || len(v.GetHash()) != 64 {
		t.Fatalf("%v", v)
	}
	for _, q := range []string{
		`UPDATE audit.entries SET account = 'eve'`, `DELETE FROM audit.entries`, `TRUNCATE audit.entries`,
	} {
		if _, err := s.db.pool.Exec(t.Context(), q); err == nil {
			t.Errorf("%s went through", q)
		}
	}
	if v := verify(); v.GetBroken() != 0 {
		t.Fatalf("%v", v)
	}
}
