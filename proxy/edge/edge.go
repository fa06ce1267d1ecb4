package edge

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/ingress"
	"github.com/micro/platform/internal/meter"
	"github.com/micro/platform/internal/rate"
	"github.com/micro/platform/internal/rpc"
	"github.com/micro/platform/internal/tenants"
	"github.com/micro/platform/internal/watch"
	authpb "github.com/micro/platform/proto/auth"
	namespacespb "github.com/micro/platform/proto/namespaces"
	registrypb "github.com/micro/platform/proto/registry"
	usagepb "github.com/micro/platform/proto/usage"
)

// lastCalls is how long an edge that stops waits for usage to take its last
// calls. The next start sends what is left.
const lastCalls = 2 * time.Second

// Options are the settings that every edge has.
type Options struct {
	InFlight        int             `env:"IN_FLIGHT"        default:"1000"       help:"calls and streams that a namespace may have open at this edge; 0 is no limit"`
	Buffered        int64           `env:"BUFFERED"         default:"268435456"  help:"bytes of bodies and answers over 16 KiB that a namespace may have under way at this edge, all of them four times that, and over gRPC as much again of what has not come as a whole; 0 is no limit"`
	Unread          time.Duration   `env:"UNREAD"           default:"1m"         zero:"ok" help:"how long an answer may lie unread, with a second more for each 64 KiB of it, before its client is cut off; 0 is no limit"`
	Anonymous       int             `env:"ANONYMOUS_RATE"   default:"20"         help:"calls a second that an address may make to the platform without an account, twenty times as many at once, its network five times that; 0 is no limit"`
	FirstMessage    time.Duration   `env:"FIRST_MESSAGE"    default:"5s"         zero:"ok" help:"how long a call without an account, over HTTP a WebSocket, may hold its place before it sends a message; 0 is no limit"`
	AnonymousCall   time.Duration   `env:"ANONYMOUS_CALL"   default:"30s"        zero:"ok" help:"how long a call without an account may last, whatever its client asks for; 0 is no limit"`
	AnonymousStream time.Duration   `env:"ANONYMOUS_STREAM" default:"1h"         zero:"ok" help:"how long a stream without an account may last; 0 is no limit"`
	Trust           time.Duration   `env:"TRUST"            default:"60s"        help:"how long tokens and rules are believed while auth is away; then nobody is let in"`
	Connections     int             `env:"CONNECTIONS"      default:"100"        help:"connections that an address may have, its network five times as many; loopback has no limit, and 0 is none"`
	ConnectionAge   time.Duration   `env:"CONNECTION_AGE"   default:"5m"         zero:"ok" help:"how old a connection gets, a tenth more or less, before its client is told to open another for its next calls, so that calls spread over edges that are new; 0 is no limit"`
	TrustedProxies  ingress.Proxies `env:"TRUSTED_PROXIES"                       help:"addresses and networks of proxies in front of this one, which are believed about who their client is"`
	MeterBytes      int             `env:"METER_BYTES"      default:"1073741824" help:"bytes that counted calls may take on disk while usage is away; beyond it calls go on and are not counted"`
}

// Edge is the pipeline that every call from outside goes through.
type Edge struct {
	opts     Options
	log      *slog.Logger
	conn     func(component string) (*grpc.ClientConn, error)
	local    func(component string) *rpc.Server
	registry registrypb.RegistryClient
	auth     authpb.ComponentsClient
	keys     *identity.KeySet
	methods  map[string]method
	verifier atomic.Pointer[identity.Verifier]
	admitted *admitted
	exchange *exchange
	logins   *logins
	open     *open
	changes  atomic.Uint64 // of what decides whom to let in
	routes   *routes
	lookups  *lookups
	inFlight *Shares // calls
	buffered *Shares // bytes
	// Calls without an account: to the platform's own methods, and to services.
	anonymous       *anonymous
	anonymousPlaces *Places
	trust           *trust
	near            *near
	calls           *meter.Log
	usage           usagepb.ComponentsClient
	tenants         *tenants.Tenants
	told            *told
	limiter         *rate.Limiter
	called          func(code string, took time.Duration)
}

// New makes an Edge that stands on the components that h connects to. It knows
// nothing before Watch.
func New(h *app.Host, o Options) (*Edge, error) {
	conns := map[string]*grpc.ClientConn{"auth": nil, "registry": nil, "namespaces": nil, "usage": nil}
	for name := range conns {
		conn, err := h.Conn(name)
		if err != nil {
			return nil, err
		}
		conns[name] = conn
	}
	limits, err := h.Redis()
	if err != nil {
		return nil, err
	}
	methods, err := methods()
	if err != nil {
		return nil, err
	}
	dir, err := h.StateDir()
	if err != nil {
		return nil, err
	}
	calls, err := meter.Open(meter.Options{Dir: filepath.Join(dir, "calls"), Bytes: o.MeterBytes}, h.Log)
	if err != nil {
		return nil, fmt.Errorf("open the log of calls: %w", err)
	}
	e := &Edge{
		opts: o, log: h.Log, conn: h.Conn, local: h.Local, methods: methods,
		calls: calls, usage: usagepb.NewComponentsClient(conns["usage"]),
		registry: registrypb.NewRegistryClient(conns["registry"]),
		auth:     authpb.NewComponentsClient(conns["auth"]),
		keys:     identity.NewKeySet(authpb.NewKeysClient(conns["auth"]), time.Now),
		admitted: newAdmitted(), open: newOpen(), exchange: newExchange(authpb.NewComponentsClient(conns["auth"])),
		logins: newLogins(authpb.NewAuthClient(conns["auth"])),
		routes: newRoutes(), lookups: newLookups(), inFlight: NewShares(int64(o.InFlight), 0), buffered: NewShares(o.Buffered, namespaces*o.Buffered), trust: newTrust(o.Trust), near: &near{first: nearFirst, next: nearNext},
		limiter: rate.New(limits, h.Log), told: newTold(),
		anonymous: newAnonymous(o.Anonymous), anonymousPlaces: NewPlaces(0),
	}
	e.tenants = tenants.New(namespacespb.NewComponentsClient(conns["namespaces"]), h.Log, e.changed)
	e.called = h.Called
	e.forgetKeys()
	return e, nil
}

// send sends counted calls to usage.
func (e *Edge) send(ctx context.Context, req *usagepb.AppendRequest) (*usagepb.AppendResponse, error) {
	return e.usage.Append(ctx, req)
}

// Watch keeps what auth, registry and namespaces push up to date, shares the
// limits with the other edges, and sends usage the calls that are counted, until
// h stops. What serves stops before that.
func (e *Edge) Watch(h *app.Host) {
	e.show(h)
	h.OnStop(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, lastCalls)
		defer cancel()
		e.calls.Close(ctx, e.send)
	})
	h.Go("ship calls", func(ctx context.Context) error { return e.calls.Ship(ctx, e.send) })
	h.OnStop(func(context.Context) { e.routes.close() })
	e.follow(h, "watch auth", "auth", e.watchAuth)
	h.Go("watch tenants", e.tenants.Run)
	h.Go("limits", e.limiter.Run)
	e.follow(h, "watch routes", "registry", e.watchRoutes)
	h.Go("reach services", func(ctx context.Context) error { return e.near.approach(ctx, e.routes) })
}

// follow keeps up with a component until h stops.
func (e *Edge) follow(h *app.Host, name, component string, session func(context.Context) error) {
	h.Go(name, func(ctx context.Context) error {
		watch.Follow(ctx, session, func(err error) {
			e.log.Warn("lost a component, going on with what is known", "lost", component, "error", err)
		})
		return nil
	})
}

// Closed says why calls should go to another edge, if they should.
func (e *Edge) Closed() error {
	if err := e.trust.check(); err != nil || e.local("registry") != nil { // in one process there is no other
		return err
	}
	return e.near.check()
}
