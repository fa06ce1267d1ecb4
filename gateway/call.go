package gateway

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/micro/platform/proxy/edge"
)

// call answers a request to a service.
func (g *Gateway) call(w http.ResponseWriter, r *http.Request) {
	service, endpoint := resolve(r.URL.Path)
	if service == "" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, `{"version": %q}`, buildVersion())
		return
	}
	call, err := g.edge.Admit(r.Context(), requestTo(r, service, endpoint))
	if err != nil {
		writeError(w, notAdmitted(err))
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

// requestTo is a request as the Edge takes it.
func requestTo(r *http.Request, service, endpoint string) edge.Request {
	method := "." + strings.Replace(endpoint, ".", "/", 1)
	out := edge.Request{Method: "/" + service + method, Metadata: requestMetadata(r), Origin: originOf(r.Context())}
	if rest, ok := unversioned(service); ok {
		out.Otherwise = "/" + rest + method
	}
	return out
}

// answer makes a unary call.
func (g *Gateway) answer(w http.ResponseWriter, r *http.Request, call *edge.Call) error {
	held(r, call.Buffer)
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

// buildVersion is what this program was built from.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
