package audit

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	auditpb "github.com/micro/platform/proto/audit"
)

// book takes down what it is told.
type book struct {
	auditpb.ComponentsClient
	err   error
	lines chan string
}

func (b *book) Begin(_ context.Context, r *auditpb.BeginRequest, _ ...grpc.CallOption) (*auditpb.BeginResponse, error) {
	e := r.GetEntry()
	b.lines <- fmt.Sprintf("%s %s %s %v", e.GetNamespace(), e.GetAccount(), e.GetAction(), e.GetTarget())
	return &auditpb.BeginResponse{Id: 1}, b.err
}

func (b *book) End(_ context.Context, r *auditpb.EndRequest, _ ...grpc.CallOption) (*auditpb.EndResponse, error) {
	b.lines <- r.GetNamespace() + " " + r.GetOutcome()
	return &auditpb.EndResponse{}, nil
}

func (b *book) want(t *testing.T, lines ...string) {
	t.Helper()
	for _, want := range lines {
		select {
		case got := <-b.lines:
			if got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("not told %q", want)
		}
	}
	select {
	case got := <-b.lines:
		t.Errorf("also told %q", got)
	default:
	}
}

// TestConcerns shows what a namespace's log says of calls of people who are not
// in it, and that nothing is done that it cannot say.
func TestConcerns(t *testing.T) {
	t.Parallel()
	b := &book{lines: make(chan string, 100)}
	l := &Log{client: b, log: slog.New(slog.DiscardHandler), failures: newFailures()}
	call := func(ctx context.Context, method string) error {
		_, err := l.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
			if err := Concerns(ctx, "acme", map[string]string{"role": "viewer"}); err != nil {
				return nil, err
			}
			return nil, errors.New(codes.AlreadyExists, "a member already")
		})
		return err
	}
	accept := func(ctx context.Context) error { return call(ctx, "/namespaces.Invites/Accept") }
	as := func(namespace string) context.Context {
		return identity.With(t.Context(), identity.Caller{ID: "jane", Type: identity.User, Namespace: namespace})
	}
	if err := accept(t.Context()); errors.Code(err) != codes.AlreadyExists {
		t.Error(err)
	}
	b.want(t, "acme anonymous namespaces.Invites.Accept map[role:viewer]", "acme AlreadyExists")
	accept(as("other")) //nolint:errcheck // as above
	b.want(t, "acme jane namespaces.Invites.Accept map[role:viewer]", "acme AlreadyExists")
	accept(as("acme")) //nolint:errcheck // as above
	b.want(t, "acme jane namespaces.Invites.Accept map[role:viewer]", "acme AlreadyExists")
	call(as("acme"), "/namespaces.Invites/Create") //nolint:errcheck // as above
	b.want(t, "acme jane namespaces.Invites.Create map[]", "acme AlreadyExists")
	b.err = errors.New(codes.Unavailable, "away")
	if err := accept(t.Context()); errors.Code(err) != codes.Unavailable {
		t.Errorf("without a log: %v", err)
	}
	b.want(t, "acme anonymous namespaces.Invites.Accept map[role:viewer]")
	if err := Concerns(t.Context(), "acme", nil); err != nil {
		t.Errorf("outside of a call: %v", err)
	}
}

// TestFailures shows that who guesses passwords does not fill a namespace's log,
// that it says how often it was tried, and that others' logs are not concerned.
func TestFailures(t *testing.T) {
	t.Parallel()
	b := &book{lines: make(chan string, 100)}
	l := &Log{client: b, log: slog.New(slog.DiscardHandler), failures: newFailures()}
	wrong := errors.New(codes.InvalidArgument, "wrong")
	login := func(namespace string) {
		_, err := l.Unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/auth.Auth/Token"}, func(ctx context.Context, _ any) (any, error) {
			Failed(ctx, namespace, map[string]string{"id": "jane"}, wrong)
			return nil, wrong
		})
		if err != wrong {
			t.Error(err)
		}
	}
	for range failuresTold {
		login("acme")
		b.want(t, "acme anonymous auth.Auth.Token map[id:jane]", "acme InvalidArgument")
	}
	for range 1000 {
		login("acme")
	}
	login("other")
	b.want(t, "other anonymous auth.Auth.Token map[id:jane]", "other InvalidArgument")
	l.failures.mu.Lock()
	l.failures.floods["acme"].since = time.Now().Add(-time.Minute)
	l.failures.mu.Unlock()
	login("acme")
	b.want(t, "acme anonymous auth.Auth.Token map[id:jane not_told:1000]", "acme InvalidArgument")
}
