package egress

import (
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/outside"
	"github.com/micro/platform/internal/rpc"
	"github.com/micro/platform/proxy/edge"
)

const (
	// maxOpen is how many requests and tunnels of a namespace may be open.
	maxOpen = 256
	// connectWithin bounds a connection to the internet.
	connectWithin = 10 * time.Second
	// maxHeader bounds what a request's headers take, and headerWithin how long.
	maxHeader    = 16 << 10
	headerWithin = 5 * time.Second
)

// Serve serves l until h stops. dialer says what of the networks around may be
// reached; its timeout is set here.
func Serve(h *app.Host, e *edge.Edge, l net.Listener, dialer outside.Dialer) {
	life, end := context.WithCancel(context.Background())
	h.OnStop(func(context.Context) { end() })
	dialer.Timeout = connectWithin
	s := app.NewHTTPServer(&http.Server{
		Handler:           &proxy{edge: e, log: h.Log, dial: dialer.DialContext, open: edge.NewShares(maxOpen, 0), life: life},
		ReadHeaderTimeout: headerWithin, IdleTimeout: idleTunnel, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(h.Log.Handler(), slog.LevelDebug),
	}, l)
	h.Go("egress", func(context.Context) error { return s.Serve() })
	h.OnDrain(func(ctx context.Context) { _ = s.Shutdown(ctx) }) // tunnels go on until the stop
}

// proxy is an HTTP proxy, as HTTPS_PROXY names one; services show the account
// that their revision has.
type proxy struct {
	edge *edge.Edge
	log  *slog.Logger
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	open *edge.Shares
	life context.Context // ends what is open
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	caller, err := p.caller(r)
	if err == nil {
		err = p.edge.MayLeave(r.Context(), caller)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	leave, err := p.open.Enter(caller.Namespace, false)
	if err != nil {
		refuse(w, err)
		return
	}
	defer leave()
	if r.Method == http.MethodConnect {
		p.connect(w, r, caller)
		return
	}
	p.pass(w, r, caller)
}

// refuse answers an error in the shape of the contract.
func refuse(w http.ResponseWriter, err error) {
	e := errors.FromError(err)
	if e.HTTP == http.StatusUnauthorized { // of a proxy
		w.Header().Set("Proxy-Authenticate", `Basic realm="micro"`)
		e = errors.NewHTTP(http.StatusProxyAuthRequired, "%s", e.Detail)
	}
	for name, value := range edge.Headers(err) {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(e.HTTP))
	io.WriteString(w, e.From("go.micro.egress").JSON()) //nolint:errcheck // the client may have left
}

// caller answers the service that asks, by the password that it shows.
func (p *proxy) caller(r *http.Request) (identity.Caller, error) {
	scheme, text, _ := strings.Cut(r.Header.Get("Proxy-Authorization"), " ")
	decoded, err := base64.StdEncoding.DecodeString(text)
	user, secret, ok := strings.Cut(string(decoded), ":")
	namespace, account, named := strings.Cut(user, "/")
	if !strings.EqualFold(scheme, "Basic") || err != nil || !ok || !named {
		return identity.Caller{}, errors.New(codes.Unauthenticated, "the way out of a service's network wants its account: use the HTTPS_PROXY that it was started with")
	}
	caller, err := p.edge.Login(r.Context(), namespace, account, secret, rpc.Origin{Address: address(r.RemoteAddr), Containers: true})
	switch {
	case err != nil:
		return identity.Caller{}, err
	case caller.Type != identity.Service:
		return identity.Caller{}, errors.New(codes.PermissionDenied, "the way out of a service's network is for services")
	}
	return *caller, nil
}

func address(remote string) string {
	host, _, _ := net.SplitHostPort(remote)
	return host
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
