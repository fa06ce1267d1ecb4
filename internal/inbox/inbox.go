package inbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-smtp"

	"github.com/micro/platform/internal/app"
)

// Options come from MICRO_INBOX_*.
type Options struct {
	SMTPAddress string `env:"SMTP_ADDRESS" default:"127.0.0.1:8025" help:"where the development inbox takes mail"`
	Address     string `env:"ADDRESS"      default:"127.0.0.1:8026" help:"where the development inbox is read"`
}

// Component runs an inbox.
var Component = app.New("inbox", func(_ context.Context, h *app.Host, o Options) error {
	mails, err := h.Listen("MICRO_INBOX_SMTP_ADDRESS", o.SMTPAddress)
	if err != nil {
		return err
	}
	pages, err := h.Listen("MICRO_INBOX_ADDRESS", o.Address)
	if err != nil {
		mails.Close()
		return err
	}
	box := New(time.Now)
	in, out := box.SMTP(h.Log), box.HTTP()
	h.Go("smtp", func(context.Context) error { return in.Serve(mails) })
	h.Go("http", func(context.Context) error { return serve(out, pages) })
	h.OnStop(func(ctx context.Context) {
		// What keeps a connection open does not keep the process.
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if in.Shutdown(ctx) != nil {
			in.Close() //nolint:errcheck // it is given up
		}
		mails.Close() // the server may have been told to stop before it saw it
		if out.Shutdown(ctx) != nil {
			out.Close() //nolint:errcheck // it is given up
		}
	})
	return nil
})

func serve(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

const (
	maxMessages   = 200
	maxMessage    = 256 << 10
	maxRecipients = 20
	smtpTimeout   = 30 * time.Second
)

// Message is a mail that came.
type Message struct {
	ID       int       `json:"id"`
	From     string    `json:"from"`
	To       []string  `json:"to"`
	Subject  string    `json:"subject"`
	Text     string    `json:"text"`
	Received time.Time `json:"received"`
}

// Inbox keeps the newest messages.
type Inbox struct {
	now func() time.Time

	mu       sync.Mutex
	messages []Message // oldest first
	last     int
}

// New makes an empty Inbox.
func New(now func() time.Time) *Inbox { return &Inbox{now: now} }

// Messages answers the messages to an address, or all of them if it is empty,
// newest first.
func (b *Inbox) Messages(to string) []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := []Message{}
	for _, m := range slices.Backward(b.messages) {
		if to == "" || slices.ContainsFunc(m.To, func(a string) bool { return strings.EqualFold(a, to) }) {
			found = append(found, m)
		}
	}
	return found
}

func (b *Inbox) add(m Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	m.ID, m.Received = b.last, b.now().UTC()
	if len(b.messages) == maxMessages {
		b.messages = slices.Delete(b.messages, 0, 1)
	}
	b.messages = append(b.messages, m)
}

// SMTP answers the server that takes mail for the inbox.
func (b *Inbox) SMTP(log *slog.Logger) *smtp.Server {
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{box: b}, nil }))
	s.Domain = "inbox.localhost"
	s.MaxRecipients, s.MaxMessageBytes = maxRecipients, maxMessage
	s.ReadTimeout, s.WriteTimeout = smtpTimeout, smtpTimeout
	s.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	return s
}

// session is one connection that brings mail.
type session struct {
	box  *Inbox
	from string
	to   []string
}

func (s *session) Reset()        { s.from, s.to = "", nil }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	m, err := parse(r)
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "the message cannot be read: " + err.Error()}
	}
	m.From, m.To = s.from, slices.Clone(s.to)
	s.box.add(m)
	return nil
}

// parse reads the subject and the first part that is plain text.
func parse(r io.Reader) (Message, error) {
	var m Message
	reader, err := mail.CreateReader(r)
	if err != nil && reader == nil {
		return m, fmt.Errorf("read header: %w", err)
	}
	defer reader.Close()
	m.Subject, _ = reader.Header.Subject() // a subject in an unknown charset is empty
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if part == nil {
			return m, fmt.Errorf("read part: %w", err)
		}
		header, ok := part.Header.(*mail.InlineHeader)
		if !ok {
			continue
		}
		if kind, _, _ := header.ContentType(); kind != "text/plain" { // of one that cannot be read it is empty
			continue
		}
		text, err := io.ReadAll(io.LimitReader(part.Body, maxMessage))
		if err != nil {
			return m, fmt.Errorf("read text: %w", err)
		}
		m.Text = strings.ToValidUTF8(strings.ReplaceAll(string(text), "\r\n", "\n"), "\uFFFD")
		return m, nil
	}
}
