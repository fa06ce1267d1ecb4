package gateway

import (
	"context"
	"io"
	"net/http"
	"sync"

	"github.com/micro/platform/internal/rpc"
)

// visit is a request whose answer is under way.
type visit struct {
	origin rpc.Origin

	mu   sync.Mutex
	held []func() // what is given back when the answer is out
}

type visitKey struct{}

func visitOf(ctx context.Context) *visit {
	return ctx.Value(visitKey{}).(*visit) // identify is in front of all that asks
}

// later has f called when the answer to the request of a context is out.
func later(ctx context.Context, f func()) { visitOf(ctx).later(f) }

func (v *visit) later(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = append(v.held, f)
}

func (v *visit) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, f := range v.held {
		f()
	}
}

// originOf answers where the request of a context came from.
func originOf(ctx context.Context) rpc.Origin {
	return visitOf(ctx).origin
}

// piece is how much memory is taken at a time for a body.
const piece = 64 << 10

// taking is a body that is held in memory until its request is answered. It takes
// the memory before it comes, if the request has said how long it is, and as it
// comes otherwise.
type taking struct {
	io.ReadCloser
	visit       *visit
	take        func(n int) (give func(), err error)
	length      int // 0 is not known
	read, taken int
	begun       bool
}

// held has the memory for the body of r taken by take.
func (g *Gateway) held(r *http.Request, take func(n int) (give func(), err error)) {
	t := &taking{ReadCloser: r.Body, visit: visitOf(r.Context()), take: take, taken: small}
	if r.ContentLength > 0 && r.ContentLength <= g.opts.BodyLimit {
		t.length = int(r.ContentLength)
	}
	r.Body = t
}

// begin takes the memory for all of a body whose length is known.
func (t *taking) begin() error {
	if t.begun || t.length <= t.taken {
		return nil
	}
	give, err := t.take(t.length)
	if err != nil {
		return err
	}
	t.begun, t.taken = true, t.length
	t.visit.later(give)
	return nil
}

// small is what a body may have before anybody knows who sends it, in bytes:
// logging in and signing up take little.
const small = 16 << 10

// Read implements io.Reader.
func (t *taking) Read(p []byte) (int, error) {
	if err := t.begin(); err != nil {
		return 0, err
	}
	n, err := t.ReadCloser.Read(p)
	if t.read += n; t.read <= t.taken {
		return n, err
	}
	give, refused := t.take(piece)
	if refused != nil {
		return n, refused
	}
	t.taken += piece
	t.visit.later(give)
	return n, err
}
