// Package mirror lets the Docker of a host pull from the component images, as
// from a registry on its own loopback, which Docker trusts without certificates.
package mirror

import (
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/micro/platform/internal/certs"
)

// Component is what a mirror gets images from.
const Component = "images"

// New makes a mirror that reaches the component by a transport, which shows this
// host's certificate. It only ever gets: who may get what is for the component
// to say.
func New(transport http.RoundTripper, log *slog.Logger) http.Handler {
	to := &url.URL{Scheme: "https", Host: certs.ServerName(Component)}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Del("Authorization")
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				log.Warn("images are not reachable", "error", err)
			}
			http.Error(w, "the platform's images are not reachable, try again", http.StatusBadGateway)
		},
	}
	mux := http.NewServeMux()
	mux.Handle("GET /v2/", proxy) // and HEAD
	return mux
}
