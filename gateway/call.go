package gateway

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

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

// buildVersion is what this program was built from.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
