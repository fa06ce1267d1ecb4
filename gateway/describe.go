package gateway

import (
	"net/http"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/openapi"
	"github.com/micro/platform/proxy/edge"
)

// service answers for a service: with its OpenAPI document, or by a call.
func (g *Gateway) service(w http.ResponseWriter, r *http.Request) {
	if service, ok := described(r.URL.Path); ok && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		g.describe(w, r, service)
		return
	}
	g.call(w, r)
}

// describe writes the OpenAPI document of a service.
func (g *Gateway) describe(w http.ResponseWriter, r *http.Request, service string) {
	request := edge.Request{Metadata: requestMetadata(r), Origin: originOf(r.Context())}
	d, call, err := g.edge.Describe(r.Context(), service, request)
	// Anonymous callers are refused the one as if it were there.
	if rest, ok := unversioned(service); ok && slices.Contains([]codes.Code{codes.NotFound, codes.Unauthenticated, codes.PermissionDenied}, errors.Code(err)) {
		d, call, err = g.edge.Describe(r.Context(), rest, request)
	}
	if err != nil {
		writeError(w, notAdmitted(err))
		return
	}
	defer call.Close()
	s := openapi.Service{Name: d.Service, Version: d.Version, Server: baseURL(r), Handlers: d.Handlers}
	for _, e := range d.Endpoints {
		s.Endpoints = append(s.Endpoints, openapi.Endpoint{Endpoint: e, Public: d.Public[e.GetName()]})
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Add("Vary", "Authorization, Micro-Namespace, Cookie")
	document := encode(openapi.New(s))
	give, err := call.Buffer(len(document))
	if err != nil {
		writeError(w, err)
		return
	}
	defer give()
	write(w, http.StatusOK, document)
}

// baseURL is where the client reached us. A proxy before us says whether that
// was encrypted; whoever claims it wrongly misleads only itself.
func baseURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}
