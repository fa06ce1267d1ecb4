package faults

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/internal/cli/remote"
	authpb "github.com/micro/platform/proto/auth"
	"github.com/micro/platform/tests/platform"
)

// components are what the loads go through. Docker is not needed for any.
var components = []string{"auth", "audit", "registry", "namespaces", "config", "store", "events", "broker", "usage", "proxy", "gateway"}

// adminPassword is of the account that the loads work as. It is an operator, so
// that it may exchange keys.
const adminPassword = "micro"

// Site is a platform and a client of it.
type Site struct {
	Platform *platform.Platform
	Client   client.Client
	Victims  []Victim

	conn *grpc.ClientConn

	mu    sync.Mutex
	token string
	renew time.Time
}

// quick is how soon a client tries to connect again.
var quick = grpc.WithConnectParams(grpc.ConnectParams{
	Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: time.Second})

// NewSite connects to a running platform, by turns to all of its proxies.
func NewSite(p *platform.Platform) (*Site, error) {
	proxies := manual.NewBuilderWithScheme("edges")
	var state resolver.State
	for _, at := range instances(p, "proxy", p.Proxy) {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: at}}})
	}
	proxies.InitialState(state)
	conn, err := remote.Dial("edges:///proxy", quick, grpc.WithResolvers(proxies), grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`))
	if err != nil {
		return nil, err
	}
	s := &Site{Platform: p, conn: conn}
	s.Client = client.New(conn, client.Options{Token: s.accessToken})
	return s, nil
}

// instances are the addresses of an edge, of which there may be two.
func instances(p *platform.Platform, edge, first string) []string {
	if other := p.Listens(edge + "/2"); other != "" {
		return []string{first, other}
	}
	return []string{first}
}

// Close ends the connection.
func (s *Site) Close() { s.conn.Close() }

// renewAfter is well before an access token ends, so that auth may be away.
const renewAfter = time.Minute

func (s *Site) accessToken(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.renew) {
		return s.token, nil
	}
	rsp, err := authpb.NewAuthClient(s.conn).Token(ctx, &authpb.TokenRequest{Id: "admin", Secret: adminPassword, Options: &authpb.Options{Namespace: "micro"}})
	if err != nil && s.token == "" {
		return "", fmt.Errorf("log in: %w", err)
	}
	if err == nil {
		s.token, s.renew = rsp.GetToken().GetAccessToken(), time.Now().Add(renewAfter)
	}
	return s.token, nil
}

// Loads makes one of every kind, under a name. They consume until ctx ends.
func (s *Site) Loads(ctx context.Context, name string) ([]*Load, error) {
	stream, err := Events(ctx, s.Client, name)
	if err != nil {
		return nil, err
	}
	return []*Load{Records(s.Client, name), Blobs(s.Client, name+"/"), Settings(ctx, s.Client, name), stream}, nil
}

// together is a platform in one process, which has its databases as children.
func together(ctx context.Context, cfg platform.Config) (*Site, error) {
	cfg.Components = components
	cfg.Env = append(cfg.Env, "MICRO_ADMIN_PASSWORD="+adminPassword)
	p, err := platform.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s, err := NewSite(p)
	if err != nil {
		return nil, err
	}
	// Without a database the server ends by itself.
	for _, program := range []string{"redis-server", "postgres"} {
		s.Victims = append(s.Victims, Victim{program, func() error {
			children, err := platform.Tree(p.Processes()["server"])
			if err != nil {
				return err
			}
			children.Of(program).Kill()
			p.Await("server")
			return nil
		}, p.Restart})
	}
	s.Victims = append(s.Victims,
		Victim{"the server", func() error { p.Kill("server"); return nil }, p.Restart},
		Victim{"the server and its databases", func() error { return s.killServer() }, p.Restart})
	return s, nil
}

// killServer ends everything that belongs to the server.
func (s *Site) killServer() error {
	all, err := platform.Tree(s.Platform.Processes()["server"])
	if err != nil {
		return err
	}
	all.Kill()
	s.Platform.Await("server")
	return nil
}

// apart is a platform whose components are processes of their own, as are its
// databases.
func apart(ctx context.Context, cfg platform.Config, d *databases) (*Site, error) {
	cfg.Apart, cfg.Servers = true, &d.Platform
	if cfg.Components == nil {
		cfg.Components = components
	}
	p, err := platform.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s, err := NewSite(p)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"config", "store", "events", "proxy"} {
		s.Victims = append(s.Victims, Victim{name,
			func() error { p.Kill(name); return nil },
			func(ctx context.Context) error { return p.Again(ctx, name) }})
	}
	for _, x := range []*platform.Daemon{d.redis, d.postgres} {
		s.Victims = append(s.Victims, Victim{x.Name, x.Kill, x.Up})
	}
	return s, nil
}
