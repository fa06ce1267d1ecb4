package mail

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/inbox"
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

func queue(t *testing.T, address string) *Queue {
	t.Helper()
	sender, err := NewSender(Server{Address: address, From: "Micro <micro@example.com>"})
	if err != nil {
		t.Fatal(err)
	}
	q := NewQueue(sender, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); q.Run(ctx) }() //nolint:errcheck // it only ends when told
	t.Cleanup(func() { cancel(); <-done })
	return q
}

func await(t *testing.T, box *inbox.Inbox, to string) inbox.Message {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if all := box.Messages(to); len(all) > 0 {
			return all[0]
		}
	}
	t.Fatal("no mail came")
	return inbox.Message{}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	box, address := server(t, "127.0.0.1:0")
	q := queue(t, address)
	if err := q.Put(Message{To: "jane@example.com", Subject: "Grüße", Text: "a\nline = €\n"}, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	m := await(t, box, "jane@example.com")
	if m.Subject != "Grüße" || strings.TrimSpace(m.Text) != "a\nline = €" || m.From != "micro@example.com" {
		t.Errorf("mail = %+v", m)
	}
}

// TestServerAway shows that mail waits for its server, and that the request
// that wanted it does not.
func TestServerAway(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	q := queue(t, address)
	if err := q.Put(Message{To: "jane@example.com", Subject: "code", Text: "secret"}, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	box, _ := server(t, address)
	await(t, box, "jane@example.com")
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	q := NewQueue(nil, slog.New(slog.DiscardHandler)) // nobody sends
	for range capacity {
		if err := q.Put(Message{}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Put(Message{}, time.Now()); errors.Code(err) != codes.Unavailable {
		t.Errorf("Put = %v, want Unavailable", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, s := range []Server{
		{Address: "localhost", From: "a@example.com"},
		{Address: "localhost:smtp", From: "a@example.com"},
		{Address: "localhost:25", From: "nobody"},
	} {
		if _, err := NewSender(s); err == nil {
			t.Errorf("NewSender(%+v) took it", s)
		}
	}
}

// TestNoPlainTextBeyondLoopback shows that a server elsewhere must speak TLS
// before it gets anything.
func TestNoPlainTextBeyondLoopback(t *testing.T) {
	t.Parallel()
	if loopback("smtp.example.com") || loopback("10.0.0.1") || !loopback("127.0.0.1") || !loopback("::1") {
		t.Error("loopback is told wrong")
	}
}
