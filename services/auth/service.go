package auth

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/password"
	"github.com/micro/platform/internal/pause"
	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/settings"
	authpb "github.com/micro/platform/proto/auth"
)

// Options come from MICRO_AUTH_*.
type Options struct {
	PublicPlatform bool          `env:"PUBLIC_PLATFORM" default:"false" help:"services of namespace micro are public until it has rules of its own; micro server sets it while it listens on loopback only"`
	UserToken      time.Duration `env:"USER_TOKEN"      default:"15m"   help:"longest life of a person's access token"`
	ServiceToken   time.Duration `env:"SERVICE_TOKEN"   default:"8760h" help:"life of a service's access token; services on Micro v4 never renew theirs"`
	Session        time.Duration `env:"SESSION"         default:"720h"  help:"how long a login lasts, however often it is renewed"`
	KeyAge         time.Duration `env:"KEY_AGE"         default:"2160h" zero:"ok" help:"age at which the signing key is replaced; 0 is never"`
	MaxAccounts    int           `env:"MAX_ACCOUNTS"    default:"10000" help:"accounts that a namespace may make"`
	MaxRules       int           `env:"MAX_RULES"       default:"1000"  help:"rules that a namespace may have"`
	MaxTokens      int           `env:"MAX_TOKENS"      default:"1000"  help:"API tokens that a namespace may have"`
	Console        string        `env:"CONSOLE"         help:"the console as browsers reach it, https://console.example.com: passkeys belong to it, and providers send browsers back to /signin there"`

	OIDCGoogleID     string          `env:"OIDC_GOOGLE_ID"     help:"client of the platform at Google; none is no sign-in with Google"`
	OIDCGoogleSecret settings.Secret `env:"OIDC_GOOGLE_SECRET" help:"secret of that client"`
	OIDCGitHubID     string          `env:"OIDC_GITHUB_ID"     help:"OAuth app of the platform at GitHub; none is no sign-in with GitHub"`
	OIDCGitHubSecret settings.Secret `env:"OIDC_GITHUB_SECRET" help:"secret of that app"`
	OIDCGitHubURL    string          `env:"OIDC_GITHUB_URL"    default:"https://github.com" help:"GitHub, or a GitHub Enterprise Server"`
	OIDCIssuer       string          `env:"OIDC_ISSUER"        help:"another issuer of OpenID Connect, https://login.example.com"`
	OIDCTitle        string          `env:"OIDC_TITLE"         default:"single sign-on" help:"what people call that issuer"`
	OIDCID           string          `env:"OIDC_ID"            help:"client of the platform at that issuer; none is no sign-in with it"`
	OIDCSecret       settings.Secret `env:"OIDC_SECRET"        help:"secret of that client"`
}

// Component runs the service, alone or beside the others.
var Component = app.New("auth", func(ctx context.Context, h *app.Host, o Options) error {
	pool, err := h.DB(ctx)
	if err != nil {
		return err
	}
	rdb, err := h.Redis()
	if err != nil {
		return err
	}
	verifier, err := h.Verifier()
	if err != nil {
		return err
	}
	mails, err := h.Outbox(pool)
	if err != nil {
		return err
	}
	svc, err := New(Stores{pool, rdb, mails}, verifier, h.Platform.Secrets(), h.Log, o)
	if err != nil {
		return err
	}
	if err := svc.Prepare(ctx, h.Platform.AdminPassword); err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	svc.Register(s)
	h.Go("changes", svc.changes.run)
	h.Go("prune", svc.pruneLoop)
	h.Go("keys", svc.keyLoop)
	return h.Serve(s)
})

// Stores is where the service keeps things.
type Stores struct {
	Postgres *pgxpool.Pool
	Redis    redis.UniversalClient
	Mails    *mail.Outbox
}

// Service is what the APIs of the component share.
type Service struct {
	db        db
	failures  failures
	mails     *mail.Outbox
	resets    resets
	passwords *password.Hasher
	verifier  *identity.Verifier
	signer    *signer
	changes   *changes
	pending   pending
	externals []external
	relying   *webauthn.WebAuthn // nil without a console that passkeys can belong to
	cluster   seal.Cluster
	refresh   refreshKey
	log       *slog.Logger
	opts      Options
	now       func() time.Time
}

// New makes the service. verifier checks tokens with this service's own keys.
func New(stores Stores, verifier *identity.Verifier, cluster seal.Cluster, log *slog.Logger, o Options) (*Service, error) {
	refresh, err := newRefreshKey(cluster)
	if err != nil {
		return nil, err
	}
	d := db{stores.Postgres}
	signer, err := newSigner(d, cluster)
	if err != nil {
		return nil, err
	}
	if err := checkConsole(o.Console); err != nil {
		return nil, err
	}
	list, err := externals(o, time.Now)
	if err != nil {
		return nil, err
	}
	relying, err := newRelyingParty(o.Console)
	if err != nil {
		return nil, err
	}
	return &Service{
		pending: pending{stores.Redis}, externals: list, relying: relying,
		db: d, failures: failures{stores.Redis}, mails: stores.Mails, passwords: password.NewHasher(), verifier: verifier, signer: signer,
		changes: newChanges(d, signer.load, log, o.PublicPlatform), cluster: cluster, refresh: refresh,
		log: log, opts: o, now: time.Now,
	}, nil
}

// Prepare makes what a first start lacks: keys, and the first operator if there
// is a password for it.
func (s *Service) Prepare(ctx context.Context, admin settings.Secret) error {
	key, err := seal.MACKey(ctx, s.db.pool, s.cluster, "auth", resetKey)
	if err != nil {
		return err
	}
	s.resets = newResets(s.failures.redis, key)
	if err := s.signer.prepare(ctx); err != nil {
		return err
	}
	there, err := s.db.account(ctx, identity.Platform, "admin")
	if err == nil {
		return s.refuseWellKnown(ctx, admin, there)
	}
	if err != errNoAccount {
		return err
	}
	if admin == "" {
		s.log.WarnContext(ctx, "there is no operator: MICRO_ADMIN_PASSWORD makes account admin of namespace micro at the next start")
		return nil
	}
	hash, err := s.passwords.Hash(ctx, admin.Reveal())
	if err != nil {
		return err
	}
	err = s.db.createAccount(ctx, account{
		Namespace: identity.Platform, ID: "admin", Name: "admin", Type: identity.User, Scopes: []string{"admin"},
		Metadata: map[string]string{}, Secret: hash,
	}, s.opts.MaxAccounts)
	if err != nil && err != errIDTaken { // another process was faster
		return fmt.Errorf("make the first operator: %w", err)
	}
	return nil
}

// wellKnown is the operator's password of a server for oneself, which is started
// with it each time.
const wellKnown = "micro"

// refuseWellKnown keeps a server that has been one's own from being opened to
// others with the password that everybody knows.
func (s *Service) refuseWellKnown(ctx context.Context, given settings.Secret, admin account) error {
	if given == wellKnown {
		return nil
	}
	match, err := s.passwords.Match(ctx, wellKnown, admin.Secret)
	if err != nil {
		return err
	}
	if match {
		return fmt.Errorf("account admin of namespace micro still has the password that everybody knows: start the server on loopback as before, change it with micro login and micro user set password, and start it here again")
	}
	return nil
}

// Register adds the APIs to a server.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	authpb.RegisterAuthServer(r, tokens{Service: s})
	authpb.RegisterAccountsServer(r, accounts{Service: s})
	authpb.RegisterRulesServer(r, ruleBook{Service: s})
	authpb.RegisterTokensServer(r, apiTokens{Service: s})
	authpb.RegisterPasswordsServer(r, passwords{Service: s})
	authpb.RegisterSessionsServer(r, sessions{Service: s})
	authpb.RegisterPeopleServer(r, people{Service: s})
	authpb.RegisterFactorsServer(r, factors{Service: s})
	authpb.RegisterProvidersServer(r, providers{Service: s})
	authpb.RegisterPasskeysServer(r, passkeys{Service: s})
	authpb.RegisterDevicesServer(r, devices{Service: s})
	authpb.RegisterKeysServer(r, keys{Service: s})
	authpb.RegisterComponentsServer(r, components{Service: s})
}

// pruneEvery is how often what has expired is removed.
const pruneEvery = 10 * time.Minute

func (s *Service) pruneLoop(ctx context.Context) error {
	for range pause.Ticks(ctx, pruneEvery) {
		if s.changes.prune(ctx, s.now()) != nil {
			return nil
		}
		if err := s.db.prune(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "expired rows not removed", "error", err)
		}
		if err := s.mergeGone(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "revocations not merged", "error", err)
		}
	}
	return nil
}

// manyGone is how many services of a namespace must be gone before their
// revocations, which would be kept for a year, become one.
const manyGone = 20

func (s *Service) mergeGone(ctx context.Context) error {
	namespaces, err := s.db.crowded(ctx, manyGone)
	if err != nil {
		return err
	}
	for _, namespace := range namespaces {
		if err := s.db.mergeGone(ctx, namespace); err != nil {
			return err
		}
	}
	return nil
}
