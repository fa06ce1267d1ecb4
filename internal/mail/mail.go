package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/micro/platform/internal/settings"
)

// Server is where mail is handed over.
type Server struct {
	// Address is host:port. Port 465 speaks TLS from the start; on others the
	// server must offer STARTTLS, unless it is on loopback.
	Address  string
	User     string // empty logs in to nothing
	Password settings.Secret
	// From is who mail is from, "Micro <micro@example.com>".
	From string
}

// Message is a mail of plain text to one person.
type Message struct {
	To, Subject, Text string
}

// sendTimeout bounds one attempt.
const sendTimeout = 20 * time.Second

// Sender hands mail over to a server.
type Sender struct {
	client *gomail.Client
	from   string
}

// NewSender checks what there is to know of a server; it dials nothing.
func NewSender(s Server) (*Sender, error) {
	host, portText, err := net.SplitHostPort(s.Address)
	if err != nil {
		return nil, fmt.Errorf("SMTP address: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("SMTP address %s: port is not a number", s.Address)
	}
	if err := gomail.NewMsg().From(s.From); err != nil {
		return nil, fmt.Errorf("sender of mail %q: %w", s.From, err)
	}
	options := []gomail.Option{gomail.WithPort(port), gomail.WithTimeout(sendTimeout)}
	switch {
	case loopback(host):
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	case port == 465:
		options = append(options, gomail.WithSSL())
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.User != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.User), gomail.WithPassword(s.Password.Reveal()))
	}
	c, err := gomail.NewClient(host, options...)
	if err != nil {
		return nil, fmt.Errorf("SMTP server %s: %w", s.Address, err)
	}
	return &Sender{client: c, from: s.From}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// errRefused is a mail that no further attempt can deliver.
var errRefused = errors.New("refused for good")

// Send hands a message over. After errRefused there is no point in another try.
func (s *Sender) Send(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	msg := gomail.NewMsg()
	if err := errors.Join(msg.From(s.from), msg.To(m.To)); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	msg.Subject(m.Subject)
	msg.SetDate()
	msg.SetMessageID()
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // no holiday notes, please
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	err := s.client.DialAndSendWithContext(ctx, msg)
	var rejected *gomail.SendError
	if errors.As(err, &rejected) && rejected.ErrorCode() >= 500 {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err != nil {
		return fmt.Errorf("send mail: %w", err)
	}
	return nil
}
