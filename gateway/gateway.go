package gateway

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"google.golang.org/grpc"

	auditrest "github.com/micro/platform/gateway/rest/audit"
	authrest "github.com/micro/platform/gateway/rest/auth"
	brokerrest "github.com/micro/platform/gateway/rest/broker"
	configrest "github.com/micro/platform/gateway/rest/config"
	eventsrest "github.com/micro/platform/gateway/rest/events"
	namespacesrest "github.com/micro/platform/gateway/rest/namespaces"
	registryrest "github.com/micro/platform/gateway/rest/registry"
	runtimerest "github.com/micro/platform/gateway/rest/runtime"
	storerest "github.com/micro/platform/gateway/rest/store"
	usagerest "github.com/micro/platform/gateway/rest/usage"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/ingress"
	auditpb "github.com/micro/platform/proto/audit"
	authpb "github.com/micro/platform/proto/auth"
	brokerpb "github.com/micro/platform/proto/broker"
	configpb "github.com/micro/platform/proto/config"
	eventspb "github.com/micro/platform/proto/events"
	namespacespb "github.com/micro/platform/proto/namespaces"
	registrypb "github.com/micro/platform/proto/registry"
	runtimepb "github.com/micro/platform/proto/runtime"
	storepb "github.com/micro/platform/proto/store"
	usagepb "github.com/micro/platform/proto/usage"
	"github.com/micro/platform/proxy/edge"
)

// Options come from MICRO_GATEWAY_*.
type Options struct {
	edge.Options
	Address   string `env:"ADDRESS"    default:"127.0.0.1:8080" help:"where clients call, HTTP"`
	Domain    string `env:"DOMAIN"     help:"host names below it say the namespace of anonymous calls: <namespace>.<domain>"`
	BodyLimit int64  `env:"BODY_LIMIT" default:"16777216"       help:"bytes that a request's body may have; sources have their own limit"`
}

const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 30 * time.Second
	uploadTimeout = 10 * time.Minute
	idleTimeout   = 75 * time.Second
	maxHeader     = 32 << 10
	maxURL        = 8 << 10
)

// routes registers the generated handlers of every API that is served.
func routes(ctx context.Context, mux *runtime.ServeMux, c grpc.ClientConnInterface) error {
	return errors.Join(
		auditrest.RegisterAuditHandlerClient(ctx, mux, auditpb.NewAuditClient(c)),
		authrest.RegisterAuthHandlerClient(ctx, mux, authpb.NewAuthClient(c)),
		authrest.RegisterAccountsHandlerClient(ctx, mux, authpb.NewAccountsClient(c)),
		authrest.RegisterRulesHandlerClient(ctx, mux, authpb.NewRulesClient(c)),
		authrest.RegisterTokensHandlerClient(ctx, mux, authpb.NewTokensClient(c)),
		authrest.RegisterSessionsHandlerClient(ctx, mux, authpb.NewSessionsClient(c)),
		authrest.RegisterPeopleHandlerClient(ctx, mux, authpb.NewPeopleClient(c)),
		authrest.RegisterFactorsHandlerClient(ctx, mux, authpb.NewFactorsClient(c)),
		authrest.RegisterPasswordsHandlerClient(ctx, mux, authpb.NewPasswordsClient(c)),
		authrest.RegisterProvidersHandlerClient(ctx, mux, authpb.NewProvidersClient(c)),
		authrest.RegisterPasskeysHandlerClient(ctx, mux, authpb.NewPasskeysClient(c)),
		authrest.RegisterDevicesHandlerClient(ctx, mux, authpb.NewDevicesClient(c)),
		authrest.RegisterKeysHandlerClient(ctx, mux, authpb.NewKeysClient(c)),
		brokerrest.RegisterBrokerHandlerClient(ctx, mux, brokerpb.NewBrokerClient(c)),
		configrest.RegisterConfigHandlerClient(ctx, mux, configpb.NewConfigClient(c)),
		eventsrest.RegisterStreamHandlerClient(ctx, mux, eventspb.NewStreamClient(c)),
		eventsrest.RegisterStoreHandlerClient(ctx, mux, eventspb.NewStoreClient(c)),
		eventsrest.RegisterTopicsHandlerClient(ctx, mux, eventspb.NewTopicsClient(c)),
		eventsrest.RegisterGroupsHandlerClient(ctx, mux, eventspb.NewGroupsClient(c)),
		namespacesrest.RegisterSignupHandlerClient(ctx, mux, namespacespb.NewSignupClient(c)),
		namespacesrest.RegisterNamespacesHandlerClient(ctx, mux, namespacespb.NewNamespacesClient(c)),
		namespacesrest.RegisterMembersHandlerClient(ctx, mux, namespacespb.NewMembersClient(c)),
		namespacesrest.RegisterInvitesHandlerClient(ctx, mux, namespacespb.NewInvitesClient(c)),
		namespacesrest.RegisterPlansHandlerClient(ctx, mux, namespacespb.NewPlansClient(c)),
		registryrest.RegisterRegistryHandlerClient(ctx, mux, registrypb.NewRegistryClient(c)),
		runtimerest.RegisterRuntimeHandlerClient(ctx, mux, runtimepb.NewRuntimeClient(c)),
		storerest.RegisterStoreHandlerClient(ctx, mux, storepb.NewStoreClient(c)),
		storerest.RegisterBlobStoreHandlerClient(ctx, mux, storepb.NewBlobStoreClient(c)),
		usagerest.RegisterUsageHandlerClient(ctx, mux, usagepb.NewUsageClient(c)),
		usagerest.RegisterBudgetsHandlerClient(ctx, mux, usagepb.NewBudgetsClient(c)),
	)
}

// Component is the HTTP edge.
var Component = app.New("gateway", func(ctx context.Context, h *app.Host, o Options) error {
	e, err := edge.New(h, o.Options)
	if err != nil {
		return err
	}
	g, err := New(e, h.Log, o)
	if err != nil {
		return err
	}
	e.Watch(h)
	l, err := h.Listen("MICRO_GATEWAY_ADDRESS", o.Address)
	if err != nil {
		return err
	}
	l = ingress.New(l, ingress.Options{PerAddress: o.Connections, PerNetwork: true, FreeLoopback: true, Proxies: o.TrustedProxies}, h.Log)
	s := app.NewHTTPServer(&http.Server{
		Handler:           g.Handler(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(h.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return g.life },
		ConnContext:       g.ageing,
	}, l)
	h.Go("serve", func(context.Context) error { return s.Serve() })
	h.OnDrain(func(ctx context.Context) {
		g.leaving.Store(true)
		h.Notice(ctx)
		ctx, cancel := context.WithTimeout(ctx, h.Drain())
		defer cancel()
		g.stop(ctx, s)
	})
	return nil
})

// Gateway serves HTTP.
type Gateway struct {
	edge *edge.Edge
	log  *slog.Logger
	opts Options
	rest http.Handler

	leaving atomic.Bool     // clients are told to connect elsewhere
	life    context.Context // of every request; ends when the drain is over
	end     context.CancelFunc
	sockets sync.WaitGroup // which http.Server does not wait for
}

// New makes a Gateway that calls through e.
func New(e *edge.Edge, log *slog.Logger, o Options) (*Gateway, error) {
	g := &Gateway{edge: e, log: log, opts: o}
	g.life, g.end = context.WithCancel(context.Background())
	rest, err := g.platform()
	g.rest = rest
	return g, err
}

// Handler is the way of a request, in reading order.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/favicon.ico", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("/platform/", g.rest)
	mux.HandleFunc("GET "+keysPath, g.keys)
	mux.HandleFunc("/", g.service)
	return otelhttp.NewHandler(g.departing(g.observe(cors(g.limit(g.identify(mux))))), "gateway", otelhttp.WithPublicEndpointFn(linked))
}

// linked says that a request's trace is only to be linked to: everybody's.
func linked(*http.Request) bool { return true }

// retires is the key of the time in a connection's context at which it is old.
type retires struct{}

// ageing notes when a new connection will be old: not all of those that were
// opened together at once.
func (g *Gateway) ageing(ctx context.Context, _ net.Conn) context.Context {
	if g.opts.ConnectionAge <= 0 {
		return ctx
	}
	age := time.Duration(float64(g.opts.ConnectionAge) * (0.9 + 0.2*rand.Float64()))
	return context.WithValue(ctx, retires{}, time.Now().Add(age))
}

// departing has clients make their next request on another connection, once the
// gateway is going or the connection is old: one that it closes could have a
// request under way.
func (g *Gateway) departing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		old, ages := r.Context().Value(retires{}).(time.Time)
		if g.leaving.Load() || ages && time.Now().After(old) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// stop lets requests in hand finish until ctx ends, then cuts what is left:
// streams.
func (g *Gateway) stop(ctx context.Context, s *app.HTTPServer) {
	if err := s.Shutdown(ctx); err != nil {
		g.end()
		s.Close()
	}
	g.end()
	g.sockets.Wait()
}
