// Package current knows the client of the program's service, for the packages
// whose functions need none: events.Publish and the like.
package current

import (
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
