// Package service is where a program becomes a service:
//
//	func main() {
//		srv := service.New(service.Name("helloworld"))
//		srv.Handle(new(handler.Helloworld))
//		if err := srv.Run(); err != nil {
//			logger.Fatal(err)
//		}
//	}
//
// The platform sets the environment of what it runs; docs/framework.md lists
// it, for running a service by hand.
package service

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/micro/platform/framework/auth"
	"github.com/micro/platform/framework/broker"
	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/internal/current"
	"github.com/micro/platform/framework/internal/edge"
	"github.com/micro/platform/framework/logger"
	"github.com/micro/platform/framework/server"
	authpb "github.com/micro/platform/proto/auth"
	registrypb "github.com/micro/platform/proto/registry"
)

const (
	// drain is for edges to learn that the service leaves: calls that are on
	// their way are still answered.
	drain = time.Second
	// stopTimeout is for calls that are being handled; then they are cut off.
	// With drain and leaveTimeout it fits into the 10 s after which Docker kills.
	stopTimeout = 7 * time.Second
)

const noAccount = "this process has no account: deploy it with micro run, or set MICRO_CLIENT_ID and MICRO_CLIENT_SECRET to an account of your namespace"

// Option is a setting that the code makes. The environment wins over it.
type Option func(*options)

type options struct {
	name, version, address string
	metadata               map[string]string
}

// Name is what others call the service by.
func Name(name string) Option { return func(o *options) { o.name = name } }

// Version is shown by the registry; "latest" unless set.
func Version(version string) Option { return func(o *options) { o.version = version } }

// Address is what to listen on, host:port; a free port unless set.
func Address(address string) Option { return func(o *options) { o.address = address } }

// Metadata is shown by the registry.
func Metadata(md map[string]string) Option {
	return func(o *options) { o.metadata = maps.Clone(md) }
}

// Service is a program on the platform.
type Service struct {
	opts options
	set  settings
	err  error // of New: Run answers it
	log  *slog.Logger

	conn     *grpc.ClientConn
	account  *account
	registry registrypb.RegistryClient
	server   *server.Server
	client   client.Client
}

// New makes a Service. It connects to nothing yet, and what is wrong with its
// settings Run answers.
func New(opts ...Option) *Service { return newService(os.Getenv, opts...) }

func newService(getenv func(string) string, opts ...Option) *Service {
	s := &Service{log: logger.Default()}
	for _, set := range opts {
		set(&s.opts)
	}
	set, err := readSettings(getenv, s.opts)
	conn, dialErr := edge.Dial(set.edge)
	if dialErr != nil {
		conn, _ = edge.Dial("127.0.0.1:1") // never used
	}
	s.set, s.err = set, cmp.Or(err, dialErr)
	auths := authpb.NewAuthClient(conn)
	s.conn, s.registry = conn, registrypb.NewRegistryClient(conn)
	s.account = &account{auth: auths, id: s.set.id, secret: s.set.secret, namespace: s.set.namespace, now: time.Now}
	s.server = server.New(s.set.name, s.log, auth.NewVerifier(authpb.NewKeysClient(conn)))
	s.client = client.New(conn, client.Options{Namespace: s.set.namespace, Token: s.account.Token})
	current.Set(s.client)
	return s
}

// Name is what the service is called.
func (s *Service) Name() string { return s.set.name }

// Version is the service's version.
func (s *Service) Version() string { return s.set.version }

// Client calls other services.
func (s *Service) Client() client.Client { return s.client }

// Server is what generated code registers handlers with.
func (s *Service) Server() *server.Server { return s.server }

// Handle makes the methods of a handler RPCs; package server says which. Run
// answers its error too.
func (s *Service) Handle(handler any) error { return s.server.Handle(handler) }

// Subscribe makes a function of the form func(context.Context, *Message) error,
// or the methods of an object that are, handle what is published to a topic.
// server.SubscriberQueue makes instances share the messages. Run answers its
// error too.
func (s *Service) Subscribe(topic string, handler any, opts ...server.SubscriberOption) error {
	return s.server.Subscribe(topic, handler, opts...)
}

// Run serves until SIGTERM, SIGINT or SIGQUIT. Then the service leaves the
// registry, answers what is on its way, and Run returns nil.
func (s *Service) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	defer stop()
	context.AfterFunc(ctx, func() {
		// Docker may send SIGTERM again while calls are being answered. A person who
		// presses Ctrl-C again wants the end at once.
		signal.Ignore(syscall.SIGTERM)
		stop()
	})
	return s.run(ctx)
}

func (s *Service) run(ctx context.Context) error {
	defer s.conn.Close()
	if err := cmp.Or(s.err, s.server.Err()); err != nil {
		return err
	}
	if err := s.authenticate(ctx); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.set.listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.set.listen, err)
	}
	address, err := s.address(ctx, listener.Addr())
	if err != nil {
		listener.Close()
		return err
	}
	s.log.Info("listening", "service", s.set.name, "address", listener.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- s.server.Serve(listener) }()

	entry := s.entry(address)
	registering, leave := context.WithCancel(ctx)
	var heart sync.WaitGroup
	heart.Go(func() { s.keepRegistered(registering, entry) })
	handling := s.subscribe(registering)
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	leave()
	heart.Wait()
	s.stop(entry, handling)
	return err
}

// authenticate finds out at the start whether the credentials are good. A
// platform that is away is waited for, a wrong secret is not.
func (s *Service) authenticate(ctx context.Context) error {
	if s.set.id == "" {
		s.log.Warn(noAccount)
		return nil
	}
	if _, err := s.account.Token(ctx); refused(err) {
		return fmt.Errorf("%s refused account %s: %w", s.set.edge, s.set.id, err)
	}
	return nil
}

// stop takes the service off the platform so that no call fails: first the
// routes go, then the calls that came by them and the messages in hand end, then
// the server does.
func (s *Service) stop(entry *registrypb.Service, handling <-chan struct{}) {
	s.log.Info("stopping", "service", s.set.name)
	s.server.Drain()
	if err := s.deregister(context.Background(), entry); err != nil {
		s.log.Warn("the registry was not told; it forgets this process by itself", "within", registerTTL, "error", err)
	} else {
		time.Sleep(drain)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	s.server.Stop(ctx)
	select {
	case <-handling:
	case <-ctx.Done():
	}
}

// subscribe listens to the topics of the subscribers until ctx is done. What it
// answers is closed when nothing is handled any more.
func (s *Service) subscribe(ctx context.Context) <-chan struct{} {
	b := broker.New(s.client)
	var handling sync.WaitGroup
	for _, sub := range s.server.Subscriptions() {
		handling.Go(func() {
			running, err := b.Subscribe(ctx, sub.Topic, func(m *broker.Message) error {
				token, err := s.account.Token(context.Background())
				if err != nil {
					return fmt.Errorf("get a token: %w", err)
				}
				return sub.Handle(context.WithoutCancel(ctx), m, token) // it may end what it has begun
			}, broker.Queue(sub.Queue))
			if err != nil {
				s.log.Error("not subscribed", "topic", sub.Topic, "error", err)
				return
			}
			<-running.Done()
		})
	}
	done := make(chan struct{})
	go func() { handling.Wait(); close(done) }()
	return done
}
