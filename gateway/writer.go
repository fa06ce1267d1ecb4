package gateway

import (
	"net/http"
	"time"
)

const (
	// writeTimeout is how long a client may take for writePiece bytes. A whole
	// answer has no deadline: streams last for hours.
	writeTimeout = 30 * time.Second
	writePiece   = 64 << 10
)

// writer is a ResponseWriter that remembers the status, and that a client which
// does not read cannot hold up.
type writer struct {
	http.ResponseWriter
	conn   *http.ResponseController
	status int
}

func newWriter(w http.ResponseWriter) *writer {
	out := &writer{ResponseWriter: w, conn: http.NewResponseController(w), status: http.StatusOK}
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
	written := 0
	for {
		piece := b[written:min(len(b), written+writePiece)]
		w.bound()
		n, err := w.ResponseWriter.Write(piece)
		if written += n; err != nil || written == len(b) {
			return written, err
		}
	}
}

// FlushError is for http.ResponseController, by which streams flush.
func (w *writer) FlushError() error {
	w.bound()
	return w.conn.Flush()
}

// bound gives what is written next its time. It is called when a handler has
// returned, too: the end of the answer is still to be sent.
func (w *writer) bound() {
	_ = w.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // a server's connection takes it; one that was taken over has its own
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
