package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/micro/platform/framework/auth"
	"github.com/micro/platform/framework/debug"
	"github.com/micro/platform/framework/internal/codec"
	"github.com/micro/platform/framework/internal/edge"
	registrypb "github.com/micro/platform/proto/registry"
)

// Server serves the RPCs of handlers, and health and reflection beside them, on
// one port, without TLS: only the platform's edge is meant to reach it.
type Server struct {
	name          string
	log           *slog.Logger
	verifier      *auth.Verifier
	methods       map[string]method
	subscriptions []*Subscription
	files         []string // names of .proto services, for reflection
	err           error    // of the first handler that could not be added

	grpc   *grpc.Server
	health *health.Server
	debug  *debug.Debug
}

// New makes a Server for the service called name. It serves nothing before
// Serve; handlers are added before that.
func New(name string, log *slog.Logger, v *auth.Verifier) *Server {
	s := &Server{name: name, log: log, verifier: v, methods: map[string]method{}, health: health.NewServer(), debug: debug.New()}
	s.grpc = grpc.NewServer(
		grpc.ForceServerCodecV2(codec.GRPC{}),
		grpc.UnknownServiceHandler(s.dispatch),
		grpc.MaxRecvMsgSize(edge.MaxMessage),
		grpc.MaxSendMsgSize(edge.MaxMessage),
		grpc.MaxConcurrentStreams(1000),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	s.debug.Register(s.grpc, name)
	s.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	s.reflect()
	return s
}

// Handle adds the RPCs of a handler, named after its type.
func (s *Server) Handle(handler any) error {
	name, err := handlerName(handler)
	if err != nil {
		return s.failed(err)
	}
	return s.HandleAs(name, handler)
}

// HandleAs adds the RPCs of a handler under a name. Generated code calls it.
func (s *Server) HandleAs(name string, handler any) error { return s.failed(s.add(name, handler)) }

// Err is the first error of Handle and HandleAs, since few programs look at it
// there.
func (s *Server) Err() error { return s.err }

func (s *Server) failed(err error) error {
	if s.err == nil {
		s.err = err
	}
	return err
}

func (s *Server) add(name string, handler any) error {
	found := methodsOf(name, reflect.ValueOf(handler))
	if len(found) == 0 {
		return fmt.Errorf("handler %s has no method of the form %s(context.Context, *Request, *Response) error", name, "Name")
	}
	s.describeFile(name, found)
	for _, m := range found {
		if _, taken := s.methods[m.name]; taken {
			return fmt.Errorf("there are two handlers of %s", m.name)
		}
		s.methods[m.name] = m
	}
	return nil
}

// Endpoints describes the RPCs to the registry, by name, and then the
// subscribers.
func (s *Server) Endpoints() []*registrypb.Endpoint {
	endpoints := make([]*registrypb.Endpoint, 0, len(s.methods))
	for _, m := range s.methods {
		endpoints = append(endpoints, m.endpoint())
	}
	slices.SortFunc(endpoints, func(a, b *registrypb.Endpoint) int { return strings.Compare(a.Name, b.Name) })
	for _, sub := range s.subscriptions {
		endpoints = append(endpoints, sub.endpoints()...)
	}
	return endpoints
}

// Serve answers calls until Stop.
func (s *Server) Serve(l net.Listener) error {
	s.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
	return s.grpc.Serve(l)
}

// Drain makes health say that no more calls should come. Those that come are
// still answered.
func (s *Server) Drain() { s.health.Shutdown() }

// Stop lets calls that are being handled end, and cuts them off when ctx is done.
func (s *Server) Stop(ctx context.Context) {
	stopped := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		s.grpc.Stop()
		<-stopped
	}
}
