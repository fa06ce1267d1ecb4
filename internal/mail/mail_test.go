package mail_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/micro/platform/internal/inbox"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server serves an inbox at an address of its own, or at a given one.
func server(t *testing.T, address string) (*inbox.Inbox, string) {
	t.Helper()
	box := inbox.New(time.Now)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := box.SMTP(slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close() //nolint:errcheck // it ends either way
		l.Close() // the server may not have seen it yet
		<-ended
	})
	return box, l.Addr().String()
}

// outbox is an outbox on a schema, which runs until the test ends or stop is
// called.
func outbox(t *testing.T, pool *pgxpool.Pool, address string) (o *mail.Outbox, stop func()) {
	t.Helper()
	sender, err := mail.NewSender(mail.Server{Address: address, From: "Micro <micro@example.com>"})
	if err != nil {
		t.Fatal(err)
	}
	o, err = mail.NewOutbox(pool, "namespaces", seal.Cluster{Secret: pgtest.Secret}, sender, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return o, stop
}

func put(t *testing.T, pool *pgxpool.Pool, o *mail.Outbox, m mail.Message) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return o.Put(t.Context(), tx, m, time.Now().Add(time.Minute)) })
	if err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, box *inbox.Inbox, to string) inbox.Message {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if all := box.Messages(to); len(all) > 0 {
			return all[0]
		}
	}
	t.Fatal("no mail came")
	return inbox.Message{}
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	box, address := server(t, "127.0.0.1:0")
	pool := pgtest.New(t, "namespaces")
	o, _ := outbox(t, pool, address)
	put(t, pool, o, mail.Message{Subject: "to nobody"})
	put(t, pool, o, mail.Message{To: "not an address", Subject: "refused"})
	put(t, pool, o, mail.Message{To: "jane@example.com", Subject: "Grüße", Text: "a\nline = €\n"})
	m := await(t, box, "jane@example.com")
	if m.Subject != "Grüße" || strings.TrimSpace(m.Text) != "a\nline = €" || m.From != "micro@example.com" {
		t.Errorf("mail = %+v", m)
	}
}

// TestServerAway shows that mail waits for its server, also when the process
// that promised it is gone, and that nothing in the database gives it away.
func TestServerAway(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	pool := pgtest.New(t, "namespaces")
	o, stop := outbox(t, pool, address)
	put(t, pool, o, mail.Message{To: "jane@example.com", Subject: "code", Text: "ABCD2345"})
	stop()
	var open int
	const q = `SELECT count(*) FROM namespaces.river_job j WHERE j::text LIKE '%ABCD2345%' OR j::text LIKE '%jane%'`
	if err := pool.QueryRow(t.Context(), q).Scan(&open); err != nil || open != 0 {
		t.Errorf("%d rows show the mail, %v", open, err)
	}
	box, _ := server(t, address)
	outbox(t, pool, address)
	await(t, box, "jane@example.com")
}

// TestRolledBack shows that what was not promised is not sent.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	box, address := server(t, "127.0.0.1:0")
	pool := pgtest.New(t, "namespaces")
	o, _ := outbox(t, pool, address)
	back := errors.New("changed our mind")
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if err := o.Put(t.Context(), tx, mail.Message{To: "jane@example.com"}, time.Now().Add(time.Minute)); err != nil {
			return err
		}
		return back
	})
	if !errors.Is(err, back) {
		t.Fatal(err)
	}
	put(t, pool, o, mail.Message{To: "joe@example.com", Subject: "later"})
	await(t, box, "joe@example.com")
	if all := box.Messages("jane@example.com"); len(all) != 0 {
		t.Errorf("sent %v", all)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, s := range []mail.Server{
		{Address: "localhost", From: "a@example.com"},
		{Address: "localhost:smtp", From: "a@example.com"},
		{Address: "localhost:25", From: "nobody"},
	} {
		if _, err := mail.NewSender(s); err == nil {
			t.Errorf("mail.NewSender(%+v) took it", s)
		}
	}
}
