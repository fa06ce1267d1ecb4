package gateway

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/proxy"
)

// call answers a request to a service.
func (g *Gateway) call(w http.ResponseWriter, r *http.Request) {
	service, endpoint := resolve(r.URL.Path)
	if service == "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, `{"version": %q}`, buildVersion())
		return
	}
	md := requestMetadata(r)
	call, err := g.edge.Admit(r.Context(), proxy.Request{
		Method: "/" + service + "." + strings.Replace(endpoint, ".", "/", 1), Metadata: md, Origin: originOf(r.Context()),
	})
	if err != nil {
		writeError(w, translate(err))
		return
	}
	defer call.Close()
	answer := g.answer
	switch {
	case call.Streaming() && isWebSocket(r):
		g.socket(w, r, call)
		return
	case call.Streaming():
		answer = g.stream
	}
	if err := answer(w, r, call); err != nil {
		writeError(w, translate(err))
	}
}

// answer makes a unary call.
func (g *Gateway) answer(w http.ResponseWriter, r *http.Request, call *proxy.Call) error {
	body, err := g.request(r, call.Describe().GetRequest())
	if err != nil {
		return err
	}
	ctx, cancel := call.Bound(r.Context(), nil)
	defer cancel()
	answer, err := call.Invoke(ctx, "json", body)
	if err != nil {
		return err
	}
	writeJSON(w, answer)
	return nil
}

// translate makes answers of gRPC itself, which know no HTTP status, what HTTP
// clients expect: a method that does not exist is not found, and a message that
// the callee could not read is a bad request.
func translate(err error) error {
	e := errors.FromError(err)
	if e.ID != "go.micro.client" {
		return err
	}
	s, _ := status.FromError(err)
	switch {
	case s.Code() == codes.Unimplemented:
		return errors.NewHTTP(http.StatusNotFound, "%s", e.Detail).From(e.ID)
	case strings.HasPrefix(e.Detail, "grpc: error unmarshalling request"), strings.HasPrefix(e.Detail, "grpc: failed to unmarshal"):
		return errors.New(codes.InvalidArgument, "%s", e.Detail).From(e.ID)
	}
	return err
}

// buildVersion is what this program was built from.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
