package proxy

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/ingress"
	"github.com/micro/platform/internal/meter"
	"github.com/micro/platform/internal/outside"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	// maxEgress is how many requests and tunnels of a namespace may be open.
	maxEgress = 256
	// outsideWithin bounds a connection to the internet.
	outsideWithin = 10 * time.Second
	// egressHeader bounds what a request's headers take, and how long.
	egressHeader       = 16 << 10
	egressHeaderWithin = 5 * time.Second
	// loginFor is how long a service's password is believed before auth is asked
	// again. That it is revoked is pushed.
	loginFor = time.Minute
	// maxLogins bounds what is remembered.
	maxLogins = 10_000
)

// egress is the way out of networks that have none: those that go over several
// hosts. It is an HTTP proxy, as HTTPS_PROXY names one; services show the
// account that their revision has.
type egress struct {
	edge   *Edge
	log    *slog.Logger
	auth   authpb.AuthClient
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	places *shares
	life   context.Context // ends what is open

	asking singleflight.Group
	mu     sync.Mutex
	logins map[[sha256.Size]byte]*exchanged // by account and password
}

func newEgress(ctx context.Context, e *Edge, auth grpc.ClientConnInterface, dialer outside.Dialer) *egress {
	return &egress{
		edge: e, log: e.log, auth: authpb.NewAuthClient(auth), life: ctx,
		dial: dialer.DialContext, places: newShares(maxEgress, 0), logins: map[[sha256.Size]byte]*exchanged{},
	}
}

// serveEgress serves the listener that containers leave their networks by.
func serveEgress(h *app.Host, edge *Edge, o Options) error {
	if o.EgressAddress == "" {
		return nil
	}
	auth, err := h.Conn("auth")
	if err != nil {
		return err
	}
	l, err := h.Listen("MICRO_PROXY_EGRESS_ADDRESS", o.EgressAddress)
	if err != nil {
		return err
	}
	l = ingress.New(l, ingress.Options{PerAddress: maxContainerConnections}, h.Log)
	ctx, end := context.WithCancel(context.Background())
	h.OnStop(func(context.Context) { end() })
	s := &http.Server{
		Handler:           newEgress(ctx, edge, auth, outside.Dialer{Timeout: outsideWithin, Open: o.EgressOpen, Closed: o.EgressClosed, Mail: o.EgressMail}),
		ReadHeaderTimeout: egressHeaderWithin, IdleTimeout: idleTunnel, MaxHeaderBytes: egressHeader,
		ErrorLog: slog.NewLogLogger(h.Log.Handler(), slog.LevelDebug),
	}
	h.Go("egress", func(context.Context) error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve egress: %w", err)
		}
		return nil
	})
	h.OnDrain(func(ctx context.Context) { _ = s.Shutdown(ctx) }) // tunnels go on until the stop
	return nil
}

// ServeHTTP implements http.Handler.
func (x *egress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	caller, err := x.caller(r)
	if err == nil {
		err = x.may(r.Context(), caller)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	leave, err := x.places.enter(caller.Namespace, false)
	if err != nil {
		refuse(w, err)
		return
	}
	defer leave()
	if r.Method == http.MethodConnect {
		x.connect(w, r, caller)
		return
	}
	x.pass(w, r, caller)
}

// refuse answers an error in the shape of the contract.
func refuse(w http.ResponseWriter, err error) {
	e := errors.FromError(err)
	if e.HTTP == http.StatusUnauthorized { // of a proxy
		w.Header().Set("Proxy-Authenticate", `Basic realm="micro"`)
		e = errors.NewHTTP(http.StatusProxyAuthRequired, "%s", e.Detail)
	}
	for name, value := range Headers(err) {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(e.HTTP))
	io.WriteString(w, e.From("go.micro.egress").JSON()) //nolint:errcheck // the client may have left
}

// caller answers the service that asks, by the password that it shows.
func (x *egress) caller(r *http.Request) (identity.Caller, error) {
	scheme, text, _ := strings.Cut(r.Header.Get("Proxy-Authorization"), " ")
	decoded, err := base64.StdEncoding.DecodeString(text)
	user, secret, ok := strings.Cut(string(decoded), ":")
	namespace, account, named := strings.Cut(user, "/")
	if !strings.EqualFold(scheme, "Basic") || err != nil || !ok || !named {
		return identity.Caller{}, errors.New(codes.Unauthenticated, "the way out of a service's network wants its account: use the HTTPS_PROXY that it was started with")
	}
	token, err := x.login(r.Context(), namespace, account, secret, rpc.Origin{Address: address(r.RemoteAddr), Containers: true})
	if err != nil {
		return identity.Caller{}, err
	}
	caller, wrong, err := x.edge.verify(r.Context(), token)
	switch {
	case err != nil:
		return identity.Caller{}, err
	case wrong != nil:
		return identity.Caller{}, errors.New(codes.Unauthenticated, "%s", wrong.text)
	case caller.Type != identity.Service:
		return identity.Caller{}, errors.New(codes.PermissionDenied, "the way out of a service's network is for services")
	}
	return *caller, nil
}

func address(remote string) string {
	host, _, _ := net.SplitHostPort(remote)
	return host
}

// login answers an access token for an account, from auth once a minute.
func (x *egress) login(ctx context.Context, namespace, account, secret string, from rpc.Origin) (string, error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%d:%s%s", len(namespace), namespace, len(account), account, secret))
	x.mu.Lock()
	known := x.logins[sum]
	x.mu.Unlock()
	if known != nil && time.Now().Before(known.fresh) {
		return known.access, nil
	}
	token, err, _ := x.asking.Do(string(sum[:]), func() (any, error) {
		md := metadata.MD{}
		from.Set(md)
		ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(context.WithoutCancel(ctx), md), exchangeWithin)
		defer cancel()
		rsp, err := x.auth.Token(ctx, &authpb.TokenRequest{Id: account, Secret: secret, Options: &authpb.Options{Namespace: namespace}})
		switch errors.Code(err) {
		case codes.OK:
		case codes.InvalidArgument, codes.NotFound, codes.Unauthenticated, codes.PermissionDenied:
			return "", errors.New(codes.Unauthenticated, "the account or its password is wrong")
		case codes.ResourceExhausted:
			return "", err
		default:
			return "", errors.New(codes.Unavailable, "the account could not be checked, try again").Because(err)
		}
		access, now := rsp.GetToken().GetAccessToken(), time.Now()
		x.mu.Lock()
		defer x.mu.Unlock()
		makeRoom(x.logins, maxLogins, now)
		x.logins[sum] = &exchanged{access: access, fresh: now.Add(loginFor)}
		return access, nil
	})
	if err != nil {
		return "", err
	}
	return token.(string), nil
}

// may says why nothing of a namespace may leave it now, if so.
func (x *egress) may(ctx context.Context, caller identity.Caller) error {
	if err := x.edge.trust.check(); err != nil {
		return err
	}
	t, err := x.edge.tenants.Of(ctx, caller.Namespace)
	if err != nil {
		return err
	}
	switch {
	case x.edge.admitted.refuses(caller):
		return errors.New(codes.Unauthenticated, "%s", revokedToken.text)
	case t.Limits.Egress == 0:
		return errors.New(codes.PermissionDenied, "services of namespace %q do not reach the internet on plan %s: its limit \"egress\" is 0", caller.Namespace, t.Plan)
	}
	return notTaken(t, party{namespace: caller.Namespace, member: true, spends: true}, false)
}

// unreachable is about a connection that was not made.
func unreachable(host string, err error) error {
	if errors.Is(err, outside.ErrMail) {
		return outside.ErrMail
	}
	if errors.Is(err, outside.ErrInside) {
		return errors.New(codes.PermissionDenied, "%s is not on the public internet: services reach each other through the edge, and nothing else inside", errors.Clip(host))
	}
	return errors.NewHTTP(http.StatusBadGateway, "%s could not be reached", errors.Clip(host)).Because(err)
}

// record counts what has left a namespace, and what came back. Bytes are counted
// as they go; nothing of it is a call.
func (x *egress) record(caller identity.Caller, in, out uint64) {
	x.edge.calls.Append(&meter.Record{At: time.Now(), Namespace: caller.Namespace, Account: caller.ID, Class: meter.OK, BytesIn: in, BytesOut: out})
}
