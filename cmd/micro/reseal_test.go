package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/inbox"
	"github.com/micro/platform/internal/local"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/seal"
	configpb "github.com/micro/platform/proto/config"
	"github.com/micro/platform/services/auth"
	"github.com/micro/platform/services/config"
)

// sealedPlatform is a database with one of each kind of what is sealed.
type sealedPlatform struct {
	app.Platform

	t       *testing.T
	digests []byte
}

// TestReseal exchanges the cluster secret of a Postgres with passwords: what the
// old one has sealed opens with both, then with the new one alone.
func TestReseal(t *testing.T) {
	t.Parallel()
	servers, err := local.Start(t.Context(), local.Options{DataDir: filepath.Join(t.TempDir(), "server"), User: "postgres", RedisServer: "redis-server"}, app.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { servers.Stop(context.Background()) })
	p := &sealedPlatform{Platform: servers.Platform, t: t}
	old := p.ClusterSecret
	p.fill()
	p.opens()

	p.ClusterSecret, p.ClusterAlso = "the cluster secret that comes after it", old
	p.opens()
	if err := checkExchanged(t.Context(), p.Platform); err == nil || !strings.Contains(err.Error(), "micro reseal first") {
		t.Errorf("a backup in between: %v", err)
	}
	kinds := p.reseal()
	if want := []string{"auth signing keys", "auth second factors", "auth keys of digests", "auth mail that waits", "config keys of secrets",
		"builder credentials of builds", "runtime specs of services", "runtime specs of revisions", "runtime accounts of revisions"}; !slices.Equal(kinds, want) {
		t.Errorf("sealed anew: %q, want %q", kinds, want)
	}
	p.opens()
	if kinds := p.reseal(); kinds != nil {
		t.Errorf("sealed anew the second time: %q", kinds)
	}
	if err := checkExchanged(t.Context(), p.Platform); err != nil {
		t.Errorf("a backup after it: %v", err)
	}

	p.ClusterAlso = ""
	p.opens()
	p.sends()
	kept := p.Secrets()
	p.ClusterSecret = old
	if err := p.open("auth", kept).Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.open("auth", p.Secrets()).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
		t.Errorf("the old secret still opens the database: %v", err)
	}
	if err := auth.Check(t.Context(), p.open("auth", kept), p.Secrets()); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("the old secret still opens the signing key: %v", err)
	}
}

// open opens the database of a component, which may log in or not.
func (p *sealedPlatform) open(component string, cluster seal.Cluster) *pgxpool.Pool {
	p.t.Helper()
	pool, err := pg.Open(p.t.Context(), p.PostgresURL.Reveal(), cluster, component)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(pool.Close)
	return pool
}

// reseal answers the kinds of which it has sealed one anew.
func (p *sealedPlatform) reseal() []string {
	p.t.Helper()
	var kinds []string
	x, err := reseal(p.t.Context(), p.Platform, func(resealed) {})
	if err = errors.Join(err, x.err()); err != nil {
		p.t.Fatal(err)
	}
	for _, r := range x.Rows {
		if r.Anew == 1 && r.Sealed == 1 {
			kinds = append(kinds, r.Component+" "+r.What)
		}
	}
	return kinds
}

// fill migrates, and seals one of each kind.
func (p *sealedPlatform) fill() {
	p.t.Helper()
	ctx := p.t.Context()
	if err := pg.Migrate(ctx, p.PostgresURL.Reveal(), p.Secrets()); err != nil {
		p.t.Fatal(err)
	}
	p.prepareAuth()
	settings := config.New(p.open("config", p.Secrets()), p.box("config"), slog.New(slog.DiscardHandler), config.Options{MaxBytes: 4096, MaxValues: 100, History: 5, Watchers: 10})
	if err := settings.Prepare(ctx); err != nil {
		p.t.Fatal(err)
	}
	jane := identity.With(ctx, identity.Caller{ID: "jane", Type: identity.User, Namespace: "demo", Scopes: []string{"admin"}})
	if _, err := settings.Set(jane, &configpb.SetRequest{Path: "key", Value: &configpb.Value{Data: `"open sesame"`}, Options: &configpb.Options{Secret: true}}); err != nil {
		p.t.Fatal(err)
	}
	outbox, pool := p.outbox("127.0.0.1:1")
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		return outbox.Put(ctx, tx, mail.Message{To: "jane@example.com", Subject: "code", Text: "ABCD2345"}, time.Now().Add(time.Hour))
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.exec("auth", `INSERT INTO auth.people (mailbox, secret, factor) VALUES ('jane@example.com', 'x', $1)`, p.box("auth").Seal([]byte("factor"), "factor/jane@example.com"))
	p.exec("builder", `INSERT INTO builder.builds (namespace, service, version, revision, source, upload, ref, entrypoint, credentials) VALUES ('demo', 'hello', 'latest', 1, '', '', '', '', $1)`,
		p.box("builder").Seal([]byte("token"), "demo/hello/latest/1"))
	runtimes := p.box("runtime")
	p.exec("runtime", `INSERT INTO runtime.services (namespace, name, version, source, spec, owner) VALUES ('demo', 'hello', 'latest', '', $1, 'jane')`, runtimes.Seal([]byte("{}"), "demo/hello/latest"))
	p.exec("runtime", `INSERT INTO runtime.revisions (namespace, name, version, number, state, source, spec, secret) VALUES ('demo', 'hello', 'latest', 1, 'running', '', $1, $2)`,
		runtimes.Seal([]byte("{}"), "demo/hello/latest"), runtimes.Seal([]byte("secret"), "demo/hello/latest r1"))
}

// prepareAuth has auth make its keys, or open them.
func (p *sealedPlatform) prepareAuth() {
	p.t.Helper()
	svc, err := auth.New(auth.Stores{Postgres: p.open("auth", p.Secrets())}, nil, p.Secrets(), slog.New(slog.DiscardHandler), auth.Options{})
	if err == nil {
		err = svc.Prepare(p.t.Context(), "")
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *sealedPlatform) box(name string) *seal.Box {
	p.t.Helper()
	b, err := seal.New(p.Secrets(), name)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p *sealedPlatform) exec(component, q string, args ...any) {
	p.t.Helper()
	if _, err := p.open(component, p.Secrets()).Exec(p.t.Context(), q, args...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *sealedPlatform) outbox(address string) (*mail.Outbox, *pgxpool.Pool) {
	p.t.Helper()
	sender, err := mail.NewSender(mail.Server{Address: address, From: "Micro <micro@example.com>"})
	if err != nil {
		p.t.Fatal(err)
	}
	pool := p.open("auth", p.Secrets())
	o, err := mail.NewOutbox(pool, "auth", p.Secrets(), sender, slog.New(slog.DiscardHandler))
	if err != nil {
		p.t.Fatal(err)
	}
	return o, pool
}

// opens opens what is sealed with the secrets as they are, and sees that the keys
// of digests stay.
func (p *sealedPlatform) opens() {
	p.t.Helper()
	ctx := p.t.Context()
	if err := auth.Check(ctx, p.open("auth", p.Secrets()), p.Secrets()); err != nil {
		p.t.Errorf("signing key: %v", err)
	}
	if n, err := config.Check(ctx, p.open("config", p.Secrets()), p.Secrets()); n != 1 || err != nil {
		p.t.Errorf("%d secrets open, %v", n, err)
	}
	digests, err := seal.MACKey(ctx, p.open("auth", p.Secrets()), p.Secrets(), "auth", "micro auth password resets")
	if p.digests == nil {
		p.digests = digests
	}
	if err != nil || !slices.Equal(digests, p.digests) {
		p.t.Errorf("the key of digests is another one, %v", err)
	}
}

// sends sees that the mail that waits is sent.
func (p *sealedPlatform) sends() {
	p.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	in := inbox.New(time.Now)
	server := in.SMTP(slog.New(slog.DiscardHandler))
	go server.Serve(l)   //nolint:errcheck // it ends when it is closed
	defer server.Close() //nolint:errcheck // it ends either way
	outbox, _ := p.outbox(l.Addr().String())
	ctx, cancel := context.WithCancel(p.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- outbox.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		if all := in.Messages("jane@example.com"); len(all) > 0 {
			if !strings.Contains(all[0].Text, "ABCD2345") {
				p.t.Errorf("mail = %+v", all[0])
			}
			return
		}
	}
	p.t.Error("the mail did not come")
}
