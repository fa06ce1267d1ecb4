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
// the memory as it comes.
type taking struct {
	io.ReadCloser
	visit       *visit
	take        func(n int) (give func(), err error)
	length      int // as the request has it; 0 is not known
	read, taken int
}

// held has the memory for the body of r taken by take.
func held(r *http.Request, take func(n int) (give func(), err error)) {
	r.Body = &taking{ReadCloser: r.Body, visit: visitOf(r.Context()), take: take, length: int(max(r.ContentLength, 0)), taken: small}
}

// rest takes the memory for what is still to come of a body whose length is known.
func (t *taking) rest() error {
	n := t.length - t.taken
	if n <= 0 {
		return nil
	}
	give, err := t.take(n)
	if err != nil {
		return err
	}
	t.taken = t.length
	t.visit.later(give)
	return nil
}

// small is what a body may have before anybody knows who sends it, in bytes:
// logging in and signing up take little.
const small = 16 << 10

// Read implements io.Reader.
func (t *taking) Read(p []byte) (int, error) {
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
