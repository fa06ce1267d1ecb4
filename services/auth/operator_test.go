package auth

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/settings"
)

// TestWellKnownPasswordStaysOnLoopback shows that a server whose operator has
// the password of a laptop does not open to others.
func TestWellKnownPasswordStaysOnLoopback(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	run := func(password, loopback string) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		return app.Run(ctx, app.Config{
			Components: []app.Component{Component}, Log: slog.New(slog.DiscardHandler), Ready: cancel,
			Environ: map[string]string{"MICRO_AUTH_PUBLIC_PLATFORM": loopback},
			Platform: app.Platform{SMTPAddress: "127.0.0.1:1", MailFrom: "micro@localhost", PostgresURL: settings.Secret(url), RedisURL: settings.Secret(redistest.URL(t)),
				ClusterSecret: pgtest.Secret, AdminPassword: settings.Secret(password)},
		})
	}
	if err := run(wellKnown, "true"); err != nil {
		t.Fatalf("first start, on loopback: %v", err)
	}
	if err := run(wellKnown, "true"); err != nil {
		t.Errorf("second start, on loopback: %v", err)
	}
	if err := run("", "true"); err == nil || !strings.Contains(err.Error(), "the password that everybody knows") {
		t.Errorf("start on another address = %v, want a refusal", err)
	}
}
