// Package current knows the client of the program's service, for the packages
// whose functions need none: events.Publish and the like.
package current

import (
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
)

var current atomic.Pointer[client.Client]

// Set makes a client the program's. service.New does it.
func Set(c client.Client) { current.Store(&c) }

// Client answers the program's client.
func Client() (client.Client, error) {
	c := current.Load()
	if c == nil {
		return nil, errors.New(codes.FailedPrecondition, "there is no service yet: call service.New first").From("go.micro.client")
	}
	return *c, nil
}

// One is what a package makes of the program's client. It is made once, and
// again if the program has another client.
type One[T any] struct {
	mu   sync.Mutex
	of   client.Client
	made *T
}

// Get answers it. end ends one whose client is no longer the program's; it may
// be nil.
func (o *One[T]) Get(make func(client.Client) *T, end func(*T)) (*T, error) {
	c, err := Client()
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of != c {
		if o.made != nil && end != nil {
			end(o.made)
		}
		o.of, o.made = c, make(c)
	}
	return o.made, nil
}
