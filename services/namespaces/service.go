package namespaces

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/password"
	"github.com/micro/platform/internal/settings"
	authpb "github.com/micro/platform/proto/auth"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// Options come from MICRO_NAMESPACES_*. In development mail goes to the inbox
// of this machine.
type Options struct {
	SMTPAddress  string          `env:"SMTP_ADDRESS"  default:"127.0.0.1:8025"          help:"mail server, host:port; TLS unless it is on loopback, from the start on port 465"`
	SMTPUser     string          `env:"SMTP_USER"     help:"user at the mail server; none logs in to nothing"`
	SMTPPassword settings.Secret `env:"SMTP_PASSWORD" help:"password at the mail server"`
	MailFrom     string          `env:"MAIL_FROM"     default:"Micro <micro@localhost>" help:"who mail is from"`
	Retry        time.Duration   `env:"RETRY"         default:"1s"                      help:"time between two looks for owners that are still to be made"`
}

// Component runs the service, alone or beside the others.
var Component = app.New("namespaces", func(ctx context.Context, h *app.Host, o Options) error {
	pool, err := h.DB(ctx)
	if err != nil {
		return err
	}
	limits, err := h.Redis()
	if err != nil {
		return err
	}
	auth, err := h.Conn("auth")
	if err != nil {
		return err
	}
	sender, err := mail.NewSender(mail.Server{Address: o.SMTPAddress, User: o.SMTPUser, Password: o.SMTPPassword, From: o.MailFrom})
	if err != nil {
		return err
	}
	mails := mail.NewQueue(sender, h.Log)
	svc, err := New(Stores{pool, limits}, authpb.NewComponentsClient(auth), mails, h.Platform.ClusterSecret, h.Log, o)
	if err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	namespacespb.RegisterSignupServer(s, svc)
	namespacespb.RegisterNamespacesServer(s, svc)
	h.Go("mail", mails.Run)
	h.Go("orders", svc.orderLoop)
	h.Go("prune", svc.pruneLoop)
	return h.Serve(s)
})

// Stores is where the service keeps things.
type Stores struct {
	Postgres *pgxpool.Pool
	Redis    redis.UniversalClient
}

// Service implements the Signup and Namespaces RPCs.
type Service struct {
	namespacespb.UnsafeSignupServer
	namespacespb.UnsafeNamespacesServer

	db        db
	limits    limits
	owners    authpb.ComponentsClient
	mails     *mail.Queue
	passwords *password.Hasher
	pepper    pepper
	log       *slog.Logger
	opts      Options
	now       func() time.Time
}

// New makes a Service. Mail needs the queue running, owners that could not be
// made at once the loop.
func New(s Stores, owners authpb.ComponentsClient, mails *mail.Queue, cluster settings.Secret, log *slog.Logger, o Options) (*Service, error) {
	p, err := newPepper(cluster)
	if err != nil {
		return nil, err
	}
	return &Service{
		db: db{s.Postgres}, limits: limits{s.Redis, p}, owners: owners, mails: mails,
		passwords: password.NewHasher(), pepper: p, log: log, opts: o, now: time.Now,
	}, nil
}

// Get implements Namespaces.
func (s *Service) Get(ctx context.Context, req *namespacespb.GetRequest) (*namespacespb.GetResponse, error) {
	name, err := identity.Member(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if name == identity.Platform { // nobody signed up for it
		return &namespacespb.GetResponse{Namespace: &namespacespb.Namespace{Id: name}}, nil
	}
	if !nameRule.MatchString(name) {
		return nil, noNamespace(name)
	}
	n, err := s.db.get(ctx, name)
	if errors.Is(err, errNone) {
		return nil, noNamespace(name)
	}
	if err != nil {
		return nil, err
	}
	return &namespacespb.GetResponse{Namespace: &namespacespb.Namespace{Id: n.Namespace, Owner: n.Owner, Created: n.CreatedAt.Unix()}}, nil
}

func noNamespace(name string) error {
	return errors.New(codes.NotFound, "no namespace %q", errors.Clip(name))
}
