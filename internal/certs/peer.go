package certs

import (
	"context"
	"crypto/x509"
	"net/http"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// domain is where components have their names. It is in no DNS.
const domain = ".micro.internal"

// Reader is who may have a certificate without being a component: what reads
// health and metrics. Components do not talk to it.
const Reader = "prometheus"

// ServerName is the name in the certificate of a component.
func ServerName(component string) string { return component + domain }

// Peer answers the component whose certificate the caller of a request has
// shown; false when the call did not come over TLS, but from its own process or
// over loopback.
func Peer(ctx context.Context) (component string, ok bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", false
	}
	c := leaf(p.AuthInfo)
	return componentOf(c), c != nil
}

// Shown answers the component whose certificate the client of an HTTP request has
// shown, "" when that is nobody.
func Shown(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	return componentOf(r.TLS.PeerCertificates[0])
}

func leaf(info credentials.AuthInfo) *x509.Certificate {
	t, ok := info.(credentials.TLSInfo)
	if !ok || len(t.State.PeerCertificates) == 0 {
		return nil
	}
	return t.State.PeerCertificates[0]
}

// componentOf answers the one component that a certificate names, or "".
func componentOf(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	found := ""
	for _, name := range c.DNSNames {
		component, ok := strings.CutSuffix(name, domain)
		if ok && found != "" {
			return ""
		}
		if ok {
			found = component
		}
	}
	return found
}
