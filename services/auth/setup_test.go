package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/inbox"
	"github.com/micro/platform/internal/password"
	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/rpc"
	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/settings"
	auditpb "github.com/micro/platform/proto/audit"
	authpb "github.com/micro/platform/proto/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// adminPassword is the first operator's.
const adminPassword = "operators only"

// platform is auth as it runs, with a component beside it that calls it.
type platform struct {
	auth       authpb.AuthClient
	accounts   authpb.AccountsClient
	rules      authpb.RulesClient
	keys       authpb.KeysClient
	tokens     authpb.TokensClient
	passwords  authpb.PasswordsClient
	sessions   authpb.SessionsClient
	components authpb.ComponentsClient
	people     authpb.PeopleClient
	factors    authpb.FactorsClient
	providers  authpb.ProvidersClient
	passkeys   authpb.PasskeysClient
	devices    authpb.DevicesClient
	verifier   *identity.Verifier
	inbox      *inbox.Inbox
	redis      redis.UniversalClient
	url        string
	db         *pgxpool.Pool
	namespace  string // with an owner, made by setup
	owner      string
	password   string
}

func setup(t testing.TB) *platform {
	t.Helper()
	return setupAt(t, pgtest.URL(t), nil)
}

// auditor takes what auth writes into the audit log.
var auditor = app.New("audit", func(_ context.Context, h *app.Host, _ struct{}) error {
	s, err := h.Server()
	if err != nil {
		return err
	}
	auditpb.RegisterComponentsServer(s, blank{})
	return h.Serve(s)
})

type blank struct {
	auditpb.UnimplementedComponentsServer
}

func (blank) Begin(context.Context, *auditpb.BeginRequest) (*auditpb.BeginResponse, error) {
	return &auditpb.BeginResponse{}, nil
}

func (blank) End(context.Context, *auditpb.EndRequest) (*auditpb.EndResponse, error) {
	return &auditpb.EndResponse{}, nil
}

// setupAt starts a process on a database, which others may use too.
func setupAt(t testing.TB, url string, environ map[string]string) *platform {
	t.Helper()
	p := &platform{url: url, namespace: redistest.Namespace(t), password: "correct horse battery", redis: redistest.New(t)}
	p.owner = "owner@" + p.namespace + ".example.com"
	started := make(chan struct{})
	tester := app.New("tester", func(ctx context.Context, h *app.Host, _ struct{}) error {
		conn, err := h.Conn("auth")
		if err != nil {
			return err
		}
		p.connect(conn)
		p.verifier, err = h.Verifier()
		return err
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	mails := p.startInbox(t)
	ended := make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, app.Config{
			Components: []app.Component{auditor, Component, tester}, Environ: environ, Log: slog.New(slog.DiscardHandler),
			Platform: app.Platform{PostgresURL: settings.Secret(url), RedisURL: settings.Secret(redistest.URL(t)),
				ClusterSecret: pgtest.Secret, AdminPassword: adminPassword,
				SMTPAddress: mails, MailFrom: "Micro <micro@localhost>"},
			Ready: func() { close(started) },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-started:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	var err error
	if p.db, err = pg.Open(t.Context(), url, seal.Cluster{Secret: pgtest.Secret}, "auth"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.db.Close)
	p.createOwner(t)
	return p
}

// startInbox takes in the mail of the platform, and answers where.
func (p *platform) startInbox(t testing.TB) string {
	t.Helper()
	p.inbox = inbox.New(time.Now)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := p.inbox.SMTP(slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close() //nolint:errcheck // it ends either way
		l.Close() // the server may not have seen it yet
		<-ended
	})
	return l.Addr().String()
}

func (p *platform) connect(conn *grpc.ClientConn) {
	p.auth, p.accounts, p.rules = authpb.NewAuthClient(conn), authpb.NewAccountsClient(conn), authpb.NewRulesClient(conn)
	p.passwords = authpb.NewPasswordsClient(conn)
	p.people, p.factors = authpb.NewPeopleClient(conn), authpb.NewFactorsClient(conn)
	p.providers, p.passkeys, p.devices = authpb.NewProvidersClient(conn), authpb.NewPasskeysClient(conn), authpb.NewDevicesClient(conn)
	p.tokens, p.sessions = authpb.NewTokensClient(conn), authpb.NewSessionsClient(conn)
	p.keys, p.components = authpb.NewKeysClient(conn), authpb.NewComponentsClient(conn)
}

func (p *platform) createOwner(t testing.TB) {
	t.Helper()
	_, err := p.components.CreateOwner(component(t), &authpb.CreateOwnerRequest{Namespace: p.namespace, Id: p.owner, PasswordHash: hashOf(t, p.password)})
	if err != nil {
		t.Fatal(err)
	}
}

func hashOf(t testing.TB, secret string) string {
	t.Helper()
	hash, err := password.NewHasher().Hash(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// component is a context that calls as a component.
func component(t testing.TB) context.Context { return identity.AsComponent(t.Context()) }

// bearer is a context that calls with a token.
func bearer(t testing.TB, token string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
}

// from is a context whose calls came in at an origin.
func from(t testing.TB, o rpc.Origin) context.Context {
	md := metadata.MD{}
	o.Set(md)
	return metadata.NewOutgoingContext(t.Context(), md)
}

func (p *platform) login(t testing.TB, namespace, id, secret string) *authpb.Token {
	t.Helper()
	rsp, err := p.auth.Token(t.Context(), &authpb.TokenRequest{Id: id, Secret: secret, Options: &authpb.Options{Namespace: namespace}})
	if err != nil {
		t.Fatalf("log in as %s of %q: %v", id, namespace, err)
	}
	return rsp.GetToken()
}

// as is a context that calls as the owner.
func (p *platform) asOwner(t testing.TB) context.Context {
	t.Helper()
	return bearer(t, p.login(t, "", p.owner, p.password).GetAccessToken())
}

// otherOwner is a context that calls as the owner of another namespace.
func (p *platform) otherOwner(t testing.TB) context.Context {
	t.Helper()
	other := *p
	other.namespace, other.owner = p.namespace+"-other", "other-"+p.owner
	other.createOwner(t)
	return other.asOwner(t)
}

func (p *platform) asOperator(t testing.TB) context.Context {
	t.Helper()
	return bearer(t, p.login(t, "micro", "admin", adminPassword).GetAccessToken())
}

// generate makes an account of the namespace.
func (p *platform) generate(t testing.TB, req *authpb.GenerateRequest) *authpb.Account {
	t.Helper()
	rsp, err := p.auth.Generate(p.asOwner(t), req)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.GetAccount()
}

// claims reads a token without checking it.
func claims(t testing.TB, token string) identity.Claims {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token %q has %d parts", token, len(parts))
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c identity.Claims
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually polls, for what arrives within a second by design.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("not in time: " + what)
		}
	}
}
