package gateway

import (
	"io"
	"net/http"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/proxy"
)

// stream answers with the messages of a stream, one after the other, as they
// come.
func (g *Gateway) stream(w http.ResponseWriter, r *http.Request, call *proxy.Call) error {
	body, err := g.request(r, call.Describe().GetRequest())
	if err != nil {
		return err
	}
	ctx, cancel := call.Bound(r.Context(), nil)
	defer cancel()
	s, err := call.Stream(ctx, "json")
	if err != nil {
		return err
	}
	if err := s.Send(body); err == nil && call.Platform() {
		// Services' streams stay open, as they are used to: some end with the request.
		_ = s.CloseSend() // Recv says what is wrong
	}
	out := http.NewResponseController(w)
	for begun := false; ; begun = true {
		message, err := s.Recv()
		switch {
		case err == io.EOF:
			if !begun {
				w.Header().Set("Content-Type", "application/json")
			}
			return nil
		case err != nil && !begun:
			return err
		case err != nil: // the status is out
			_, _ = w.Write(encode(errors.FromError(err)))
			return nil
		}
		if !begun {
			w.Header().Set("Content-Type", "application/json")
		}
		if _, err := w.Write(message); err != nil {
			return nil // the client is gone
		}
		if err := out.Flush(); err != nil {
			return nil
		}
	}
}
