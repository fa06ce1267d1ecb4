package gateway

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/proxy/edge"
)

const (
	// openWithin is how long an answer waits for its first message, which may be
	// an error and decide its status, before it begins.
	openWithin = time.Second
	// beatEvery is how often an idle stream of events says that it is alive.
	beatEvery = 15 * time.Second
)

// stream answers with the messages of a stream as they come: one after the
// other, or as server-sent events.
func (g *Gateway) stream(w http.ResponseWriter, r *http.Request, call *edge.Call) error {
	held(r, call.Buffer)
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
	messages := receive(ctx, s)
	defer func() {
		cancel()
		for range messages { // until its goroutine has ended
		}
	}()
	out := &streamWriter{w: w, events: strings.Contains(r.Header.Get("Accept"), "text/event-stream")}
	return out.copy(messages)
}

// received is a message of a stream, or how it ended.
type received struct {
	message []byte
	err     error
}

// receive receives until the stream ends or ctx does, then closes the channel.
func receive(ctx context.Context, s *edge.Stream) <-chan received {
	messages := make(chan received)
	go func() {
		defer close(messages)
		for {
			message, err := s.Recv()
			select {
			case messages <- received{message, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return messages
}

// streamWriter writes a stream as the body of an answer.
type streamWriter struct {
	w      http.ResponseWriter
	events bool // server-sent ones
	begun  bool
}

// copy writes messages until there are no more or the client is gone. An error
// is one that comes before the answer has begun.
func (o *streamWriter) copy(messages <-chan received) error {
	quiet := time.NewTimer(openWithin)
	defer quiet.Stop()
	for {
		var err error
		select {
		case <-quiet.C:
			err = o.beat()
		case x, open := <-messages:
			switch {
			case !open: // the client is gone, or we have to
				return nil
			case x.err == io.EOF:
				o.end()
				return nil
			case x.err != nil && !o.begun:
				return x.err
			case x.err != nil: // the status is out
				_ = o.send("error", encode(errors.FromError(x.err)))
				return nil
			}
			err = o.send("", x.message)
		}
		if err != nil {
			return nil // the client is gone
		}
		quiet.Reset(beatEvery)
	}
}

// begin sends the headers.
func (o *streamWriter) begin() {
	if o.begun {
		return
	}
	o.begun = true
	h := o.w.Header()
	h.Set("Content-Type", "application/json")
	if o.events {
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no") // what proxies of the web understand
	}
	o.w.WriteHeader(http.StatusOK)
}

// send writes a message, as an event of a name if it has one.
func (o *streamWriter) send(event string, message []byte) error {
	o.begin()
	if o.events {
		message = serverSentEvent(event, message)
	}
	if _, err := o.w.Write(message); err != nil {
		return err
	}
	return http.NewResponseController(o.w).Flush()
}

// beat tells the client, and proxies between, that the stream is open.
func (o *streamWriter) beat() error {
	o.begin()
	if o.events {
		if _, err := io.WriteString(o.w, ":\n\n"); err != nil {
			return err
		}
	}
	return http.NewResponseController(o.w).Flush()
}

// end ends a stream without an error. Browsers would open a stream of events
// again if it did not say so.
func (o *streamWriter) end() {
	o.begin()
	if o.events {
		_ = o.send("end", []byte("{}"))
	}
}

// serverSentEvent is a message as an event; each of its lines needs a mark.
func serverSentEvent(name string, message []byte) []byte {
	var b bytes.Buffer
	if name != "" {
		b.WriteString("event: " + name + "\n")
	}
	for line := range bytes.SplitSeq(message, []byte("\n")) {
		b.WriteString("data: ")
		b.Write(bytes.TrimSuffix(line, []byte("\r")))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.Bytes()
}
