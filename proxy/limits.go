package proxy

import (
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/quota"
	"github.com/micro/platform/internal/rpc"
)

// inFlight counts the open calls of each namespace, so that one that is slow
// cannot take what the others need.
type inFlight struct {
	limit int

	mu    sync.Mutex
	count map[place]int
}

// place is what is counted: all calls of a namespace, and among them those of
// callers without an account, who may take half, so that nobody can shut the
// members of a namespace out through what it has made public.
type place struct {
	namespace string
	stranger  bool
}

func newInFlight(limit int) *inFlight { return &inFlight{limit: limit, count: map[place]int{}} }

// crowded says to those who met a limit of open calls when to come again.
var crowded = &quota.Reached{Wait: time.Second}

// errTooLarge is about a message of either side.
func errTooLarge() *errors.Error {
	return errors.New(codes.ResourceExhausted, "message larger than %d bytes, which is the limit", rpc.MaxMessage).From("go.micro.proxy")
}

// enter takes a place for a call of a namespace; leave gives it back.
func (f *inFlight) enter(namespace string, stranger bool) (leave func(), err error) {
	if f.limit <= 0 {
		return func() {}, nil
	}
	all, strangers := place{namespace: namespace}, place{namespace, true}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count[all] >= f.limit {
		return func() {}, errors.New(codes.ResourceExhausted, "namespace %q has %d calls open, which is the limit: try again when some have ended", namespace, f.limit).Because(crowded)
	}
	if stranger && f.count[strangers] >= max(f.limit/2, 1) {
		return func() {}, errors.New(codes.ResourceExhausted, "too many calls without an account are open in namespace %q: try again when some have ended, or log in", namespace).Because(crowded)
	}
	taken := []place{all}
	if stranger {
		taken = append(taken, strangers)
	}
	for _, p := range taken {
		f.count[p]++
	}
	return sync.OnceFunc(func() { f.leave(taken) }), nil
}

func (f *inFlight) leave(taken []place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range taken {
		if f.count[p]--; f.count[p] == 0 {
			delete(f.count, p)
		}
	}
}
