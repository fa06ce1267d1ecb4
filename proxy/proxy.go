package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/ingress"
	"github.com/micro/platform/internal/rpc"
	"github.com/micro/platform/proxy/edge"
)

// Options come from MICRO_PROXY_*.
type Options struct {
	edge.Options
	Address          string         `env:"ADDRESS"           default:"127.0.0.1:8081" help:"where clients call, gRPC over plain HTTP/2"`
	ContainerAddress string         `env:"CONTAINER_ADDRESS" default:"auto"           help:"where tenants' containers call; auto is the Docker bridge's address with the port of MICRO_PROXY_ADDRESS, none is nowhere"`
	EgressAddress    string         `env:"EGRESS_ADDRESS"    help:"where containers of networks over several hosts leave them, an HTTP proxy; empty is nowhere"`
	EgressOpen       []netip.Prefix `env:"EGRESS_OPEN"       help:"private networks that they may reach that way, 10.1.0.0/16,..."`
	EgressClosed     []netip.Prefix `env:"EGRESS_CLOSED"     help:"public networks that they may not reach, such as the addresses at which this server is reached from outside"`
	EgressMail       bool           `env:"EGRESS_MAIL"       default:"false"          help:"whether they may reach port 25, where mail servers take mail from anybody"`
	ConnectionGrace  time.Duration  `env:"CONNECTION_GRACE"  help:"how long calls and streams on a connection may last after CONNECTION_AGE; 0 is no limit, for streams may be silent for hours"`
}

const (
	// maxMetadata bounds what a request's metadata takes.
	maxMetadata = 16 << 10
	// maxStreams is how many calls a client may have open on one connection; a
	// container's one connection carries the calls of everybody it serves.
	maxStreams          = 100
	maxContainerStreams = 1000
	// maxResets is how many calls a client may cancel on one connection in ten
	// seconds, if it cancels most.
	maxResets          = 200
	maxContainerResets = 10 * maxResets
	// workers is how many goroutines wait for calls, their stacks grown already.
	// Calls beyond them get their own.
	workers = 64
)

// Component is the gRPC edge.
var Component = app.New("proxy", func(ctx context.Context, h *app.Host, o Options) error {
	e, err := edge.New(h, o.Options)
	if err != nil {
		return err
	}
	e.Watch(h)
	l, err := h.Listen("MICRO_PROXY_ADDRESS", o.Address)
	if err != nil {
		return err
	}
	room := o.Room(h.Log)
	l = ingress.New(l, ingress.Options{PerAddress: o.Connections, PerNetwork: true, FreeLoopback: true, Resets: maxResets, Room: room, Proxies: o.TrustedProxies}, h.Log)
	run(h, &server{edge: e, log: h.Log, proxies: o.TrustedProxies}, o.serving(maxStreams), func(_ context.Context, g *grpc.Server) error { return g.Serve(l) })
	if err := serveEgress(h, e, o); err != nil {
		return err
	}
	return serveContainers(ctx, h, e, o, room)
})

// serving is how connections are served that may have so many calls open.
func (o Options) serving(streams uint32) []grpc.ServerOption {
	return append(edge.ServerOptions(),
		grpc.MaxConcurrentStreams(streams),
		// Micro clients never ping and keep silent streams for hours. Our own pings
		// find the connections whose client is gone.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 5 * time.Minute, Timeout: time.Minute,
			MaxConnectionAge: o.ConnectionAge, MaxConnectionAgeGrace: o.ConnectionGrace}),
	)
}

// run runs the gRPC server of an edge until h stops.
func run(h *app.Host, s *server, serving []grpc.ServerOption, serve func(context.Context, *grpc.Server) error) {
	var traces []otelgrpc.Option
	if !s.containers { // a trace from outside is only linked to
		traces = append(traces, otelgrpc.WithPublicEndpoint())
	}
	g := grpc.NewServer(append(serving,
		grpc.UnknownServiceHandler(s.forward),
		grpc.StatsHandler(otelgrpc.NewServerHandler(traces...)),
		grpc.MaxRecvMsgSize(rpc.MaxMessage),
		grpc.MaxSendMsgSize(rpc.MaxMessage),
		grpc.MaxHeaderListSize(maxMetadata),
		grpc.NumStreamWorkers(workers),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)...)
	status := health.NewServer()
	healthpb.RegisterHealthServer(g, healthy{status, s.edge, edge.NewPlaces(maxWatchers), s.proxies})
	h.Go("serve", func(ctx context.Context) error { return serve(ctx, g) })
	h.OnDrain(func(ctx context.Context) { h.DrainServer(ctx, g, status) })
}

// server is one listener's calls.
type server struct {
	edge       *edge.Edge
	log        *slog.Logger
	containers bool
	proxies    ingress.Proxies
}

// Services of Micro open a subscription that ended in an error again at once,
// thousands of times a second if they may: so none ends in less than refusal.
const (
	subscribe = "/broker.Broker/Subscribe"
	refusal   = time.Second
)

// holdBack waits until a call has taken as long as a refusal does, or ctx ends.
func holdBack(ctx context.Context, began time.Time) {
	t := time.NewTimer(refusal - time.Since(began))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// forward passes a call on as a stream of bytes, whatever its method.
func (s *server) forward(_ any, in grpc.ServerStream) error {
	ctx, began := in.Context(), time.Now()
	method, _ := grpc.MethodFromServerStream(in)
	md, _ := metadata.FromIncomingContext(ctx)
	call, err := s.edge.Admit(ctx, edge.Request{Method: method, Metadata: md, Origin: rpc.Origin{Address: clientOf(ctx, s.proxies), Containers: s.containers}})
	_ = in.SetHeader(metadata.Pairs(edge.RequestIDKey, call.ID)) // fails only after the headers went out
	_ = grpc.SetSendCompressor(ctx, encoding.Identity)           // likewise; a copy would not be counted
	if err == nil {
		err = call.Forward(in)
	}
	s.edge.Called(errors.Code(err).String(), time.Since(began))
	s.log.DebugContext(ctx, "call", "method", method, "namespace", call.Namespace, "code", errors.Code(err).String(),
		"took", time.Since(began), "request_id", call.ID)
	if err != nil && method == subscribe {
		holdBack(ctx, began)
	}
	if e := errors.FromError(err); e != nil && e.Reason != "" {
		in.SetTrailer(metadata.Pairs(edge.ReasonKey, e.Reason))
	}
	if more := edge.Headers(err); more != nil {
		in.SetTrailer(metadata.New(more))
	}
	return plain(err)
}

// plain is an error as a status without details, its reason beside it.
func plain(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok || s.Code() == codes.OK {
		return status.Error(codes.Internal, errors.New(codes.Internal, "internal error").JSON())
	}
	if e := errors.FromError(err); e.Reason != "" {
		return status.Error(s.Code(), e.For("").JSON())
	}
	return status.Error(s.Code(), s.Message())
}

// clientOf answers the client's IP address.
func clientOf(ctx context.Context, proxies ingress.Proxies) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return ""
	}
	return proxies.Client(host, metadata.ValueFromIncomingContext(ctx, "x-forwarded-for"))
}
