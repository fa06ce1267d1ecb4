package namespaces

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/abuse"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/password"
	"github.com/micro/platform/internal/seal"
	authpb "github.com/micro/platform/proto/auth"
	namespacespb "github.com/micro/platform/proto/namespaces"
	"github.com/micro/platform/services/namespaces/export"
)

// Options come from MICRO_NAMESPACES_*.
type Options struct {
	Retry      time.Duration `env:"RETRY" default:"1s" help:"time between two looks for owners that are still to be made"`
	Throwaway  string        `env:"THROWAWAY_DOMAINS" help:"a file of mail domains that nobody signs up with, one to a line; empty is the platform's own short list"`
	PerDomain  int           `env:"PER_DOMAIN" default:"100" help:"codes a day for the mailboxes of one mail domain that is none of the large providers'; 0 is no limit"`
	PerPerson  int           `env:"PER_PERSON" default:"10" help:"namespaces that a person may own"`
	Undo       time.Duration `env:"UNDO" default:"336h" zero:"ok" help:"how long the deletion of a namespace can be undone; then it is erased"`
	Settle     time.Duration `env:"SETTLE" default:"10m" zero:"ok" help:"time from the end of an erasure until it is looked through once more, for what came late"`
	Quarantine time.Duration `env:"NAME_QUARANTINE" default:"720h" zero:"ok" help:"how long the name of a namespace that was erased cannot be taken; 0 is for ever"`
	Plan       string        `env:"PLAN"  default:"local" help:"the plan of namespaces that have none of their own; free is for strangers"`
	Plans      string        `env:"PLANS" help:"a file with another catalogue of plans, in the form of billing/plans/plans.yaml; empty is that one"`
}

// Component runs the service, alone or beside the others.
var Component = app.New("namespaces", func(ctx context.Context, h *app.Host, o Options) error {
	pool, err := h.DB(ctx)
	if err != nil {
		return err
	}
	rdb, err := h.Redis()
	if err != nil {
		return err
	}
	auth, err := h.Conn("auth")
	if err != nil {
		return err
	}
	mails, err := h.Outbox(pool)
	if err != nil {
		return err
	}
	peers, err := export.Connect(h.Conn)
	if err != nil {
		return err
	}
	digests, err := seal.MACKey(ctx, pool, h.Platform.Secrets(), h.Name, pepperKey)
	if err != nil {
		return err
	}
	svc, err := New(Stores{pool, rdb}, authpb.NewComponentsClient(auth), mails, digests, h.Log, o)
	if err != nil {
		return err
	}
	erasers, err := erasers(h, svc.db)
	if err != nil {
		return err
	}
	leaving := &deletions{db: svc.db, components: erasers, mails: mails, log: h.Log, opts: o, now: time.Now}
	s, err := h.Server()
	if err != nil {
		return err
	}
	namespacespb.RegisterSignupServer(s, svc)
	namespacespb.RegisterNamespacesServer(s, svc)
	namespacespb.RegisterMembersServer(s, members{Service: svc})
	namespacespb.RegisterInvitesServer(s, invites{Service: svc})
	namespacespb.RegisterPlansServer(s, plansAPI{Service: svc})
	namespacespb.RegisterComponentsServer(s, components{Service: svc})
	archives := newArchives(svc, peers)
	namespacespb.RegisterArchivesServer(s, archives)
	namespacespb.RegisterImportsServer(s, archives)
	h.Go("tenants", svc.tenants.run)
	h.Go("orders", svc.orderLoop)
	h.Go("prune", svc.pruneLoop)
	h.Queue("erasures", svc.db.overdue)
	h.Go("erase", leaving.run)
	return h.Serve(s)
})

// Stores is where the service keeps things.
type Stores struct {
	Postgres *pgxpool.Pool
	Redis    redis.UniversalClient
}

// Service implements the Signup and Namespaces RPCs, and is what the others
// share.
type Service struct {
	namespacespb.UnsafeSignupServer
	namespacespb.UnsafeNamespacesServer

	db        db
	tenants   *tenants
	limits    bounds
	throwaway domains
	owners    authpb.ComponentsClient
	mails     *mail.Outbox
	passwords *password.Hasher
	pepper    pepper
	log       *slog.Logger
	opts      Options
	now       func() time.Time
}

// Sealed is what is sealed with the cluster secret.
func Sealed() []seal.Column {
	return []seal.Column{seal.MACKeys("namespaces"), mail.Sealed("namespaces")}
}

// New makes a Service. Mail needs the outbox running, owners that could not be
// made at once the loop. What is sent to people is kept as digests with p.
func New(s Stores, owners authpb.ComponentsClient, mails *mail.Outbox, p pepper, log *slog.Logger, o Options) (*Service, error) {
	catalogue, standard, err := o.catalogue()
	if err != nil {
		return nil, err
	}
	throwaway, err := readDomains(o.Throwaway)
	if err != nil {
		return nil, err
	}
	return &Service{
		db: db{s.Postgres}, tenants: newTenants(db{s.Postgres}, catalogue, standard, log), limits: bounds{abuse.New(s.Redis, "namespaces", p), o.PerDomain}, throwaway: throwaway, owners: owners, mails: mails,
		passwords: password.NewHasher(), pepper: p, log: log, opts: o, now: time.Now,
	}, nil
}

func noNamespace(name string) error {
	return errors.New(codes.NotFound, "no namespace %q", errors.Clip(name))
}
