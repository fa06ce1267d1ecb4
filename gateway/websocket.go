package gateway

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/proxy/edge"
)

const (
	// maxFrame bounds a client's message.
	maxFrame = 1 << 20
	// pingEvery and pongWithin find clients that are gone without a word.
	pingEvery  = 15 * time.Second
	pongWithin = 60 * time.Second
)

func isWebSocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// socket turns a WebSocket into a stream: a frame is a message, both ways.
func (g *Gateway) socket(w http.ResponseWriter, r *http.Request, call *edge.Call) {
	var offered []string
	if p, _, _ := strings.Cut(r.Header.Get("Sec-WebSocket-Protocol"), ","); p != "" {
		offered = []string{strings.TrimSpace(p)}
	}
	// Any origin may connect: a foreign page has no token, since its cookies do
	// not count.
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: offered})
	if err != nil {
		return // Accept has answered
	}
	g.sockets.Add(1)
	defer g.sockets.Done()
	c.SetReadLimit(maxFrame)
	frame := websocket.MessageText
	if c.Subprotocol() == "binary" {
		frame = websocket.MessageBinary
	}
	ctx, cancel := call.Bound(r.Context(), nil)
	var reader sync.WaitGroup
	// To end the context of a Read cuts the connection, so this comes last.
	defer func() { cancel(); _ = c.CloseNow(); reader.Wait() }()
	err = converse(ctx, c, frame, call, &reader)
	switch {
	case err == nil:
		_ = c.Close(websocket.StatusNormalClosure, "")
	case websocket.CloseStatus(err) != -1 || ctx.Err() != nil: // the client has left, or we have to
		_ = c.Close(websocket.StatusGoingAway, "")
	default:
		// A close frame has no room for the reason, so it goes before.
		if c.Write(ctx, frame, encode(errors.FromError(err))) == nil {
			_ = c.Close(closeCode(err), "")
		}
	}
}

func closeCode(err error) websocket.StatusCode {
	if errors.Code(err) == codes.InvalidArgument {
		return websocket.StatusInvalidFramePayloadData
	}
	return websocket.StatusInternalError
}

// converse copies messages both ways until one side is done. The first message
// opens the stream. reader goes on until the connection is closed.
func converse(conn context.Context, c *websocket.Conn, frame websocket.MessageType, call *edge.Call, reader *sync.WaitGroup) error {
	soon, end := context.WithCancelCause(conn)
	defer end(nil)
	came := call.Await(end)
	first, err := readFrame(soon, c)
	came()
	if cause := context.Cause(soon); err != nil && conn.Err() == nil && cause != nil {
		return cause // the connection is cut by now
	}
	if err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(conn)
	defer fail(nil)
	s, err := call.Stream(ctx, "json")
	if err != nil {
		return err
	}
	if err := s.Send(first); err != nil && err != io.EOF {
		return err
	}
	reader.Go(func() { fail(upstream(conn, c, s)) })
	reader.Go(func() { ping(ctx, c, fail) })
	for {
		message, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		if err := c.Write(conn, frame, message); err != nil {
			return err
		}
	}
}

// upstream sends what the client sends, until the client is gone, and answers
// how it went.
func upstream(ctx context.Context, c *websocket.Conn, s *edge.Stream) error {
	for {
		message, err := readFrame(ctx, c)
		if err != nil {
			return err
		}
		// After an error Recv knows why; reading goes on, to see the client leave.
		_ = s.Send(message)
	}
}

// readFrame reads a message, which must be a JSON object. Old clients send an
// empty one when there is nothing to say.
func readFrame(ctx context.Context, c *websocket.Conn) ([]byte, error) {
	_, message, err := c.Read(ctx)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(message)) == 0 {
		return []byte("{}"), nil
	}
	_, err = parseObject(message)
	return message, err
}

func ping(ctx context.Context, c *websocket.Conn, fail context.CancelCauseFunc) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		wait, cancel := context.WithTimeout(ctx, pongWithin)
		err := c.Ping(wait)
		cancel()
		if err != nil {
			fail(err)
			_ = c.CloseNow() // a Write may be waiting for the client too
			return
		}
	}
}
