package gateway

import (
	"net/http"
	"time"

	"github.com/micro/platform/proxy/edge"
)

// writer is a ResponseWriter that remembers the status, and that a client which
// does not read cannot hold up.
type writer struct {
	http.ResponseWriter
	conn   *http.ResponseController
	within time.Duration // for a client to take what is written; 0 is for ever
	status int
}

func (g *Gateway) newWriter(w http.ResponseWriter) *writer {
	out := &writer{ResponseWriter: w, conn: http.NewResponseController(w), within: g.opts.Unread, status: http.StatusOK}
	_ = out.conn.SetWriteDeadline(time.Time{}) // the last answer's, on the same connection
	return out
}

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *writer) Write(b []byte) (int, error) {
	w.bound(len(b))
	return w.ResponseWriter.Write(b)
}

// FlushError is for http.ResponseController, by which streams flush.
func (w *writer) FlushError() error {
	w.bound(0)
	return w.conn.Flush()
}

// bound gives n bytes that are written next their time. It is called when a
// handler has returned, too: the end of the answer is still to be sent. A whole
// answer has no deadline: streams last for hours.
func (w *writer) bound(n int) {
	if w.within > 0 {
		_ = w.conn.SetWriteDeadline(time.Now().Add(w.within + time.Duration(n)*time.Second/edge.LeastRate)) // a server's connection takes it; one that was taken over has its own
	}
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
