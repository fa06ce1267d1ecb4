package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/certs"
	"github.com/micro/platform/internal/full"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/lost"
	"github.com/micro/platform/internal/quota"
)

// MaxMessage is the largest message either way, as existing Micro clients have
// it (v3.10).
const MaxMessage = 16 << 20

// unaryTimeout bounds a unary call whose client named no deadline; v4 clients
// wait as long.
const unaryTimeout = time.Minute

// maxStreams bounds the calls and streams of a connection. An edge brings those
// of all its namespaces over one, silent streams of subscribers among them, and
// has bounded each namespace already: this is only what memory can bear.
const maxStreams = 100_000

// Inside is what watches the calls of a server, behind the check of the caller.
// The first is the outermost.
type Inside interface {
	Unary(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error)
	Stream(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error
}

// NewServer makes a component's server. Callers are whom v verifies; connections
// are made with secure, which is nil where all stay on this host.
func NewServer(log *slog.Logger, v *identity.Verifier, secure credentials.TransportCredentials, inside ...Inside) *Server {
	i := &interceptor{log: log, verifier: v}
	i.ending, i.end = context.WithCancelCause(context.Background())
	unary, streams := i.unary, []grpc.StreamServerInterceptor{i.stream}
	for _, in := range inside {
		unary, streams = chain(unary, in.Unary), append(streams, in.Stream)
	}
	if secure == nil {
		secure = insecure.NewCredentials()
	}
	server := grpc.NewServer(
		grpc.Creds(secure),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		// Micro clients never ping and keep silent streams for hours.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.StatsHandler(otelgrpc.NewServerHandler(otelgrpc.WithFilter(filters.Not(filters.HealthCheck())))),
		grpc.UnaryInterceptor(unary),
		grpc.ChainStreamInterceptor(streams...),
	)
	return &Server{Server: server, intercept: unary, end: i.end, methods: map[string]localMethod{}}
}

// chain answers an interceptor that has another inside.
func chain(outer, inner grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return outer(ctx, req, info, func(ctx context.Context, req any) (any, error) {
			return inner(ctx, req, info, handler)
		})
	}
}

type interceptor struct {
	log      *slog.Logger
	verifier *identity.Verifier
	ending   context.Context // of all streams
	end      context.CancelCauseFunc
}

// errEnding is why streams end that could go on: their server stops.
var errEnding = errors.New(codes.Unavailable, "this instance stops, connect again")

// EndStreams ends the context of all streams, with an error that tells clients to
// come again. Handlers that wait for a message notice when the server stops.
func (s *Server) EndStreams() { s.end(errEnding) }

func (i *interceptor) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (rsp any, err error) {
	began := time.Now()
	defer func() { err = i.finish(ctx, info.FullMethod, began, recover(), blame(err, req)) }()
	ctx, err = i.identify(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	return handler(bounded, req)
}

func (i *interceptor) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	ctx, began := s.Context(), time.Now()
	defer func() { err = i.finish(ctx, info.FullMethod, began, recover(), err) }()
	ctx, err = i.identify(ctx, info.FullMethod)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(i.ending, func() { cancel(errEnding) })()
	if err = handler(srv, &identified{s, ctx}); context.Cause(ctx) == errEnding {
		return errEnding
	}
	return err
}

type identified struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *identified) Context() context.Context { return s.ctx }

// identify puts the verified caller into the context, and holds it to its role.
// A call without a token is anonymous; one with a bad token is refused, since
// the edge passes none on.
func (i *interceptor) identify(ctx context.Context, method string) (context.Context, error) {
	token, err := Bearer(ctx)
	if err != nil || token == "" {
		return ctx, err
	}
	caller, err := i.verifier.Verify(ctx, token)
	if err == nil {
		err = certified(ctx, caller)
	}
	switch {
	case err == nil:
		service, endpoint, _ := strings.Cut(strings.TrimPrefix(method, "/"), ".")
		return identity.Admit(identity.With(ctx, caller), caller, service, strings.Replace(endpoint, "/", ".", 1))
	case errors.Is(err, identity.ErrExpired):
		return ctx, errors.New(codes.Unauthenticated, "%v: log in again", err).For(identity.TokenExpired)
	case errors.Is(err, identity.ErrInvalid):
		return ctx, errors.New(codes.Unauthenticated, "%v: log in again", err).For(identity.TokenInvalid)
	default:
		return ctx, errors.New(codes.Unavailable, "the token could not be checked, try again").Because(err)
	}
}

// certified refuses the token of a component from who has shown the certificate
// of another.
func certified(ctx context.Context, caller identity.Caller) error {
	if peer, ok := certs.Peer(ctx); ok && caller.IsComponent() && peer != caller.ID {
		return fmt.Errorf("%w: it is of component %s, the certificate of %s", identity.ErrInvalid, caller.ID, peer)
	}
	return nil
}

// Bearer answers the token in the metadata of an incoming call, or "".
func Bearer(ctx context.Context) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		token, ok := strings.CutPrefix(values[0], "Bearer ")
		if !ok {
			return "", errors.New(codes.Unauthenticated, "invalid authorization header. expected Bearer schema").For(identity.HeaderInvalid)
		}
		return token, nil
	default:
		return "", errors.New(codes.InvalidArgument, "one Bearer Authorization header expected, got %d", len(values))
	}
}

// finish is the one place where errors leave a component: a decision for the
// caller goes out as it is, anything else is logged and hidden.
func (i *interceptor) finish(ctx context.Context, method string, began time.Time, panicked any, err error) error {
	if panicked != nil {
		i.log.ErrorContext(ctx, "panic in a handler", "method", method, "panic", panicked, "stack", string(debug.Stack()))
		return errors.New(codes.Internal, "internal error").From(errorID(method))
	}
	if err == nil {
		return nil
	}
	if told := full.Storage(err); told != nil { // whatever was made of it
		err = told
	}
	var decided *errors.Error
	if errors.As(err, &decided) {
		if more := quota.Headers(err); more != nil {
			_ = grpc.SetTrailer(ctx, metadata.New(more)) // fails only without a transport
		} else if cause := decided.Unwrap(); cause != nil {
			i.log.WarnContext(ctx, "call failed", "method", method, "took", time.Since(began), "detail", decided.Detail, "error", cause)
		}
		return decided.From(errorID(method))
	}
	if ctx.Err() != nil { // the caller left or its time is up: nobody's fault
		err = ctx.Err()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New(codes.DeadlineExceeded, "%v", context.DeadlineExceeded).From(errorID(method))
	case errors.Is(err, context.Canceled):
		return errors.New(codes.Canceled, "%v", context.Canceled).From(errorID(method))
	}
	if lost.Is(err) {
		i.log.WarnContext(ctx, "call failed", "method", method, "took", time.Since(began), "error", err)
		return errors.New(codes.Unavailable, "a part of the platform is not reachable, try again").From(errorID(method))
	}
	i.log.ErrorContext(ctx, "call failed", "method", method, "took", time.Since(began), "error", err)
	return errors.New(codes.Internal, "internal error").From(errorID(method))
}

// errorID turns "/auth.Auth/Token" into "auth.Auth.Token", as clients know it.
func errorID(method string) string {
	return strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
}
