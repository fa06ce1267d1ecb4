package pg_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
)

// TestRoleSeesItsOwnSchemaOnly shows the wall between components.
func TestRoleSeesItsOwnSchemaOnly(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	for _, tt := range []struct {
		name, component, q, refused string
	}{
		{"own rows", "registry", "SELECT count(*) FROM registry.nodes", ""},
		{"another's rows", "registry", "SELECT count(*) FROM runtime.services", "permission denied"},
		{"own tables", "registry", "DROP TABLE registry.nodes", "must be owner"},
		{"new tables", "registry", "CREATE TABLE registry.more (n int)", "permission denied"},
		{"another's password", "registry", "SELECT rolpassword FROM pg_authid", "permission denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pool, err := pg.Open(t.Context(), url, seal.Cluster{Secret: pgtest.Secret}, tt.component)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			_, err = pool.Exec(t.Context(), tt.q)
			if tt.refused == "" && err != nil || tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)) {
				t.Errorf("%s = %v, want %q", tt.q, err, tt.refused)
			}
		})
	}
}

func TestWrongClusterSecretIsRefused(t *testing.T) {
	t.Parallel()
	pool, err := pg.Open(t.Context(), pgtest.URL(t), seal.Cluster{Secret: "another secret"}, "registry")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pool.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
		t.Errorf("Ping = %v, want a refused password", err)
	}
}

func TestMigrateAgainChangesNothing(t *testing.T) {
	t.Parallel()
	if err := pg.Migrate(t.Context(), pgtest.URL(t), seal.Cluster{Secret: pgtest.Secret}); err != nil {
		t.Error(err)
	}
}

// TestLead shows that one leads at a time, that the next takes over when it
// stops, and that its error ends the whole.
func TestLead(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, "registry")
	first, stopFirst := context.WithCancel(t.Context())
	leads := make(chan string, 2)
	work := func(name string, err error) func(context.Context) error {
		return func(ctx context.Context) error {
			leads <- name
			if err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- pg.Lead(first, pool, t.Name(), work("first", nil)) }()
	if got := <-leads; got != "first" {
		t.Fatalf("%s leads", got)
	}
	broken := errors.New("broken")
	second := make(chan error, 1)
	go func() { second <- pg.Lead(t.Context(), pool, t.Name(), work("second", broken)) }()
	select {
	case name := <-leads:
		t.Fatalf("%s leads beside the first", name)
	case <-time.After(100 * time.Millisecond):
	}
	stopFirst()
	if err := <-ended; err != nil {
		t.Errorf("the first ended with %v, though it was told to", err)
	}
	if got := <-leads; got != "second" {
		t.Fatalf("%s leads", got)
	}
	if err := <-second; !errors.Is(err, broken) {
		t.Errorf("the second ended with %v, want its work's error", err)
	}
}
