package edge

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/ingress"
	"github.com/micro/platform/internal/meter"
	"github.com/micro/platform/internal/rate"
	"github.com/micro/platform/internal/reserved"
	"github.com/micro/platform/internal/rpc"
	"github.com/micro/platform/internal/tenants"
	authpb "github.com/micro/platform/proto/auth"
	namespacespb "github.com/micro/platform/proto/namespaces"
	registrypb "github.com/micro/platform/proto/registry"
	usagepb "github.com/micro/platform/proto/usage"
)

// unaryTimeout bounds a unary call whose client names no deadline. Streams of
// accounts have none: they may be silent for hours.
const unaryTimeout = time.Minute

// lastCalls is how long an edge that stops waits for usage to take its last
// calls. The next start sends what is left.
const lastCalls = 2 * time.Second

// Options are the settings that every edge has.
type Options struct {
	InFlight        int             `env:"IN_FLIGHT"        default:"1000"       help:"calls and streams that a namespace may have open at this edge; 0 is no limit"`
	Buffered        int64           `env:"BUFFERED"         default:"268435456"  help:"bytes of bodies and answers over 16 KiB that a namespace may have under way at this edge, all of them four times that; 0 is no limit"`
	Unread          time.Duration   `env:"UNREAD"           default:"1m"         help:"how long an answer may lie unread, with a second more for each 64 KiB of it, before its client is cut off; 0 is no limit"`
	Anonymous       int             `env:"ANONYMOUS_RATE"   default:"20"         help:"calls a second that an address may make to the platform without an account, twenty times as many at once, its network five times that; 0 is no limit"`
	FirstMessage    time.Duration   `env:"FIRST_MESSAGE"    default:"5s"         help:"how long a call without an account, over HTTP a WebSocket, may hold its place before it sends a message; 0 is no limit"`
	AnonymousCall   time.Duration   `env:"ANONYMOUS_CALL"   default:"30s"        help:"how long a call without an account may last, whatever its client asks for; 0 is no limit"`
	AnonymousStream time.Duration   `env:"ANONYMOUS_STREAM" default:"1h"         help:"how long a stream without an account may last; 0 is no limit"`
	Trust           time.Duration   `env:"TRUST"            default:"60s"        help:"how long tokens and rules are believed while auth is away; then nobody is let in"`
	Connections     int             `env:"CONNECTIONS"      default:"100"        help:"connections that an address may have, its network five times as many; loopback has no limit, and 0 is none"`
	ConnectionAge   time.Duration   `env:"CONNECTION_AGE"   default:"5m"         help:"how old a connection gets, a tenth more or less, before its client is told to open another for its next calls, so that calls spread over edges that are new; 0 is no limit"`
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
	h.Go("watch auth", func(ctx context.Context) error { return e.follow(ctx, "auth", e.watchAuth) })
	h.Go("watch tenants", e.tenants.Run)
	h.Go("limits", e.limiter.Run)
	h.Go("watch routes", func(ctx context.Context) error { return e.follow(ctx, "registry", e.watchRoutes) })
	h.Go("reach services", func(ctx context.Context) error { return e.near.approach(ctx, e.routes) })
}

// Closed says why calls should go to another edge, if they should.
func (e *Edge) Closed() error {
	if err := e.trust.check(); err != nil || e.local("registry") != nil { // in one process there is no other
		return err
	}
	return e.near.check()
}

// Request is a call as it came to an edge.
type Request struct {
	// Method is "/helloworld.Helloworld/Call".
	Method string
	// Otherwise is the method that is meant where the namespace has no service
	// of that name; it may be empty.
	Otherwise string
	// Metadata is what the client sent: its authorization, the namespace it
	// means, and what is for the callee.
	Metadata metadata.MD
	// Origin is where the call came in. It makes nobody trusted.
	Origin rpc.Origin
}

// Call is a request that was let in.
type Call struct {
	// ID is the request's id, in the logs and in the callee's metadata.
	ID        string
	Service   string
	Endpoint  string
	Namespace string
	// Caller is nil for an anonymous call.
	Caller *identity.Caller

	edge   *Edge
	method string
	from   string // the client's address
	// containers says that it came in where only containers do.
	containers bool
	apiToken   string    // that the caller came with, if it is one
	changes    uint64    // at the admission
	badToken   *badToken // why the caller is anonymous although there was a token
	opened     *openCall // from Bound on, if the call may be ended
	md         metadata.MD
	target     target
	done       func() // gives its place among the calls in flight back
	message    message
	count      count
}

// target is where a call goes: a component, or a service of a namespace.
type target struct {
	component *grpc.ClientConn
	local     *rpc.Server // of the component, for a unary method, when it is in this process
	service   *service
	stream    kind
	// halfClose says that the callee waits for the end of the request after its
	// only message, which old clients never send on streams.
	halfClose bool
	endpoint  *registrypb.Endpoint // nil when nobody has described it
}

// idempotent says whether the endpoint's author has: a call may be made twice.
func (t target) idempotent() bool { return t.endpoint.GetMetadata()[idempotent] == "true" }

// Admit decides on a request. The error is for its client; beside it, too, the
// Call has an id and what else is known. A Call must be closed.
func (e *Edge) Admit(ctx context.Context, r Request) (*Call, error) {
	c := &Call{ID: requestID(r.Metadata), edge: e, method: r.Method, changes: e.changes.Load(), done: func() {}}
	if err := e.admit(ctx, c, r); err != nil {
		c.refused(e.calls)
		return c, c.explain(err)
	}
	if c.pays() {
		c.count.log = e.calls
	}
	return c, nil
}

func (e *Edge) admit(ctx context.Context, c *Call, r Request) error {
	var err error
	if c.Service, c.Endpoint, err = split(r.Method); err != nil {
		return err
	}
	if c.Caller, c.badToken, err = e.authenticate(ctx, r.Metadata, r.Origin.Address); err != nil {
		return err
	}
	if c.Namespace, err = namespace(c.Caller, r.Metadata); err != nil {
		return err
	}
	if token, _ := bearer(r.Metadata); isAPIToken(token) && c.Caller != nil {
		c.apiToken = token
	}
	c.from, c.containers = r.Origin.Address, r.Origin.Containers
	if r.Otherwise != "" {
		if err := e.settle(ctx, c, r.Otherwise); err != nil {
			return err
		}
	}
	if err := e.mayCall(ctx, c, c.Endpoint); err != nil {
		return err
	}
	e.note(ctx, c)
	isCore := reserved.Service(c.Service)
	if err := e.within(ctx, c, isCore); err != nil {
		return err
	}
	if err := e.enter(c, isCore); err != nil {
		return err
	}
	if isCore {
		c.target, err = e.component(c.method)
	} else {
		c.target, err = e.lookup(ctx, c)
	}
	if err != nil {
		c.Close()
		return c.absent(err)
	}
	c.md = forwarded(c, r)
	return nil
}

// enter takes a place among the open calls of the namespace. Signing up and
// logging in are of none, and bounded by where they come from.
func (e *Edge) enter(c *Call, isCore bool) error {
	if isCore && c.Caller == nil {
		leave, err := e.anonymous.enter(c.from)
		if err == nil {
			c.done = leave
		}
		return err
	}
	left := func() {}
	if c.Caller == nil {
		var err error
		if left, err = e.anonymousPlaces.Enter(c.from); err != nil {
			return err
		}
	}
	leave, err := e.inFlight.Enter(c.Namespace, c.Caller == nil)
	if err != nil {
		left()
		return err
	}
	c.done = func() { leave(); left() }
	return nil
}

// settle takes the other method if there is no service for the first one. One
// that the caller may not call is not looked for, so that nobody learns from the
// answer, or from its time, whether there is such a service.
func (e *Edge) settle(ctx context.Context, c *Call, otherwise string) error {
	if e.mayCall(ctx, c, c.Endpoint) == nil {
		if _, err := e.service(ctx, c); errors.Code(err) != codes.NotFound {
			return nil // another error comes again, in its place
		}
	}
	var err error
	c.method = otherwise
	c.Service, c.Endpoint, err = split(otherwise)
	return err
}

// absent turns an error of the look-up into what helps a caller whose token was
// forgotten or is bad, and who was therefore looked up in the wrong namespace.
func (c *Call) absent(err error) error {
	switch {
	case c.Caller != nil || errors.Code(err) != codes.NotFound:
		return err
	case c.badToken != nil:
		return c.unauthorized()
	default:
		return errors.New(codes.NotFound, "%v in namespace %s, where calls without a token go", err, c.Namespace).From("go.micro.client")
	}
}

// Close gives back what the call held, and counts it if its client has left.
func (c *Call) Close() {
	c.end(context.Canceled)
	c.leave()
}

func (c *Call) leave() {
	c.drop()
	c.done()
	c.done = func() {}
}

// Streaming says whether the callee answers with a stream.
func (c *Call) Streaming() bool { return c.target.stream == streaming }

// Platform says whether the callee is a component of the platform.
func (c *Call) Platform() bool { return c.target.component != nil }

// Describe answers the endpoint's messages as the registry has them, or nil.
func (c *Call) Describe() *registrypb.Endpoint { return c.target.endpoint }

// Bound answers a context with the call's deadline: the client's, which Micro
// clients also send as metadata, or one for unary calls without any. Calls
// without an account end soon in any case. The call also ends when its token is
// revoked, or its namespace suspended.
func (c *Call) Bound(ctx context.Context, md metadata.MD) (context.Context, context.CancelFunc) {
	var within time.Duration
	if v := md.Get("timeout"); len(v) > 0 {
		if ns, err := strconv.ParseInt(v[0], 10, 64); err == nil && ns > 0 {
			within = time.Duration(ns)
		}
	}
	if _, ok := ctx.Deadline(); !ok && within == 0 && c.target.stream == unary {
		within = unaryTimeout
	}
	if most := c.longest(); most > 0 && (within == 0 || within > most) {
		within = most
	}
	ctx, over := c.edge.open.add(ctx, c)
	if within == 0 {
		return ctx, over
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	return ctx, func() { cancel(); over() }
}

// longest is how long the call may last, whatever its client says; 0 is for
// ever. The platform has no streams for those without an account.
func (c *Call) longest() time.Duration {
	switch {
	case c.Caller != nil:
		return 0
	case c.Platform():
		return cmp.Or(c.edge.opts.AnonymousCall, unaryTimeout)
	case c.target.stream == unary:
		return c.edge.opts.AnonymousCall
	default:
		return c.edge.opts.AnonymousStream
	}
}
