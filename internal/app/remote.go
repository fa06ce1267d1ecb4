package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/health" // the client's side of health checks
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/micro/platform/internal/certs"
	"github.com/micro/platform/internal/rpc"
)

// secure says whether components in other processes are spoken to with TLS.
func (c Config) secure() bool { return c.Platform.TLSDir != "" || c.Platform.TLSCert != "" }

// keeper answers the keeper of a component's certificate. The caller holds mu.
func (g *group) keeper(component string) (*certs.Keeper, error) {
	if k := g.keepers[component]; k != nil {
		return k, nil
	}
	k, err := g.Platform.keeper(component, g.Log.With("component", component))
	if err != nil {
		return nil, err
	}
	g.keepers[component] = k
	g.metrics.Gauge(component, "micro_certificate_expires_timestamp_seconds", "When the component's certificate ends.",
		func() float64 { return float64(k.Expires().Unix()) })
	return k, nil
}

// keeper reads the certificate of a component.
func (p Platform) keeper(component string, log *slog.Logger) (*certs.Keeper, error) {
	files := certs.In(p.TLSDir, component)
	if p.TLSCert != "" {
		files = certs.Files{Certificate: p.TLSCert, Key: p.TLSKey, Authorities: p.TLSCA}
	}
	k, err := certs.NewKeeper(component, files, log)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", component, err)
	}
	return k, nil
}

// checkTLS wants all of the files or none.
func (p Platform) checkTLS() error {
	if files := p.TLSCert != "" || p.TLSKey != "" || p.TLSCA != ""; files && (p.TLSCert == "" || p.TLSKey == "" || p.TLSCA == "") {
		return errors.New("MICRO_TLS_CERT, MICRO_TLS_KEY and MICRO_TLS_CA belong together: set all three, or MICRO_TLS_DIR")
	}
	return nil
}

// serverCredentials are what a component's listener is secured with; nil is
// nothing.
func (g *group) serverCredentials(component string) (credentials.TransportCredentials, error) {
	if !g.Apart || !g.secure() {
		return nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k, err := g.keeper(component)
	if err != nil {
		return nil, err
	}
	return k.Server(), nil
}

// reconnect is quick: a component that starts again is back in a second.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
	MinConnectTimeout: 2 * time.Second,
}

// remote answers how to reach a component in other processes, at those
// addresses. The caller holds mu.
func (g *group) remote(to, from string, all []string) (target string, opts []grpc.DialOption, err error) {
	opts = []grpc.DialOption{grpc.WithConnectParams(reconnect), grpc.WithDefaultServiceConfig(balanced()), grpc.WithNoProxy()}
	if g.secure() {
		k, err := g.keeper(from)
		if err != nil {
			return "", nil, err
		}
		opts = append(opts, grpc.WithTransportCredentials(k.Client(to)))
	}
	if len(all) == 1 && !isIP(all[0]) {
		return "names:///" + all[0], append(opts, grpc.WithResolvers(names{net.DefaultResolver.LookupHost, lookEvery})), nil
	}
	fixed := manual.NewBuilderWithScheme("instances")
	var state resolver.State
	for _, a := range all {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: a}}})
	}
	fixed.InitialState(state)
	return "instances:///" + to, append(opts, grpc.WithResolvers(fixed)), nil
}

// dial connects one component to the instance of another at an address.
func (g *group) dial(to, from, address string) (*grpc.ClientConn, error) {
	if err := g.checkAddress("the address of "+to, address); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	target, opts, err := g.remote(to, from, []string{address})
	if err != nil {
		return nil, err
	}
	return rpc.NewClient(target, g.token(from), opts...)
}
