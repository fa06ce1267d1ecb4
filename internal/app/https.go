package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/micro/platform/internal/certs"
)

// transferTime bounds one request between components that speak HTTP: they move
// images.
const transferTime = 15 * time.Minute

// ServeHTTPS serves a component's API that is not gRPC, on the component's
// address and to those with a certificate of the authority. Who may do what is
// for the handler to say; certs.Shown tells who it is.
func (h *Host) ServeHTTPS(handler http.Handler) error {
	k, err := h.group.ownKeeper(h.Name)
	if err != nil {
		return err
	}
	l, err := h.listenApart()
	if err != nil {
		return err
	}
	h.ServeHTTP(Transfers(handler), tls.NewListener(l, k.Config()))
	return nil
}

// Transfers is a server of what moves images.
func Transfers(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: transferTime, WriteTimeout: transferTime,
		IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10}
}

// Secure says whether components are spoken to with certificates.
func (h *Host) Secure() bool { return h.group.secure() }

// Transport answers how to speak HTTPS with a component that ServeHTTPS serves,
// as https://certs.ServerName(component): the name is in no DNS, and any of the
// component's instances may answer.
func (h *Host) Transport(component string) (*http.Transport, error) {
	k, err := h.group.ownKeeper(h.Name)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		all := addresses(component, h.group.Environ)
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var failed error
		for _, address := range all {
			conn, err := dialer.DialContext(ctx, network, address)
			if err == nil {
				return handshake(ctx, conn, k.To(component))
			}
			failed = errors.Join(failed, err)
		}
		return nil, failed
	}
	t := &http.Transport{DialTLSContext: dial, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: time.Minute, DisableCompression: true}
	h.OnStop(func(context.Context) { t.CloseIdleConnections() })
	return t, nil
}

func handshake(ctx context.Context, conn net.Conn, config *tls.Config) (net.Conn, error) {
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// ownKeeper answers the keeper of the certificate of a component that cannot do
// without.
func (g *group) ownKeeper(component string) (*certs.Keeper, error) {
	if !g.secure() {
		return nil, fmt.Errorf("%s needs certificates: make some with \"micro certs\" and set MICRO_TLS_DIR", component)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.keeper(component)
}
