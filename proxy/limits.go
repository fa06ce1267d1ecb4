package proxy

import (
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/rpc"
)

// inFlight counts the open calls of each namespace, so that one that is slow
// cannot take what the others need.
type inFlight struct {
	limit int

	mu    sync.Mutex
	count map[string]int
}

func newInFlight(limit int) *inFlight { return &inFlight{limit: limit, count: map[string]int{}} }

// errTooLarge is about a message of either side.
func errTooLarge() *errors.Error {
	return errors.New(codes.ResourceExhausted, "message larger than %d bytes, which is the limit", rpc.MaxMessage).From("go.micro.proxy")
}

// enter takes a place for a call of a namespace; leave gives it back.
func (f *inFlight) enter(namespace string) (leave func(), err error) {
	if f.limit <= 0 {
		return func() {}, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count[namespace] >= f.limit {
		return func() {}, errors.New(codes.ResourceExhausted, "namespace %q has %d calls open, which is the limit: try again when some have ended", namespace, f.limit)
	}
	f.count[namespace]++
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.count[namespace]--; f.count[namespace] == 0 {
			delete(f.count, namespace)
		}
	}), nil
}
