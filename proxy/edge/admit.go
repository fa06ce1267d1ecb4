package edge

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/reserved"
	"github.com/micro/platform/internal/rpc"
)

// Request is a call as it came to an edge.
type Request struct {
	// Method is "/helloworld.Helloworld/Call".
	Method string
	// Otherwise is the method that is meant where the namespace has no service
	// of that name; it may be empty.
	Otherwise string
	// Metadata is what the client sent: its authorization, the namespace it
	// means, and what is for the callee.
	Metadata metadata.MD
	// Origin is where the call came in. It makes nobody trusted.
	Origin rpc.Origin
}

// Admit decides on a request. The error is for its client; beside it, too, the
// Call has an id and what else is known. A Call must be closed.
func (e *Edge) Admit(ctx context.Context, r Request) (*Call, error) {
	c := &Call{ID: requestID(r.Metadata), edge: e, method: r.Method, changes: e.changes.Load(), done: func() {}}
	if err := e.admit(ctx, c, r); err != nil {
		c.refused(e.calls)
		return c, c.explain(err)
	}
	if c.pays() {
		c.count.log = e.calls
	}
	return c, nil
}

func (e *Edge) admit(ctx context.Context, c *Call, r Request) error {
	var err error
	if c.Service, c.Endpoint, err = split(r.Method); err != nil {
		return err
	}
	if c.Caller, c.badToken, err = e.authenticate(ctx, r.Metadata, r.Origin.Address); err != nil {
		return err
	}
	if c.Namespace, err = namespace(c.Caller, r.Metadata); err != nil {
		return err
	}
	if token, _ := bearer(r.Metadata); isAPIToken(token) && c.Caller != nil {
		c.apiToken = token
	}
	c.from, c.containers = r.Origin.Address, r.Origin.Containers
	if r.Otherwise != "" {
		if err := e.settle(ctx, c, r.Otherwise); err != nil {
			return err
		}
	}
	if err := e.mayCall(ctx, c, c.Endpoint); err != nil {
		return err
	}
	e.note(ctx, c)
	isCore := reserved.Service(c.Service)
	if err := e.within(ctx, c, isCore); err != nil {
		return err
	}
	if err := e.enter(c, isCore); err != nil {
		return err
	}
	if isCore {
		c.target, err = e.component(c.method)
	} else {
		c.target, err = e.lookup(ctx, c)
	}
	if err != nil {
		c.Close()
		return c.absent(err)
	}
	c.md = forwarded(c, r)
	return nil
}

// enter takes a place among the open calls of the namespace. Signing up and
// logging in are of none, and bounded by where they come from.
func (e *Edge) enter(c *Call, isCore bool) error {
	if isCore && c.Caller == nil {
		leave, err := e.anonymous.enter(c.from)
		if err == nil {
			c.done = leave
		}
		return err
	}
	left := func() {}
	if c.Caller == nil {
		var err error
		if left, err = e.anonymousPlaces.Enter(c.from); err != nil {
			return err
		}
	}
	leave, err := e.inFlight.Enter(c.Namespace, c.Caller == nil)
	if err != nil {
		left()
		return err
	}
	c.done = func() { leave(); left() }
	return nil
}

// settle takes the other method if there is no service for the first one. One
// that the caller may not call is not looked for, so that nobody learns from the
// answer, or from its time, whether there is such a service.
func (e *Edge) settle(ctx context.Context, c *Call, otherwise string) error {
	if e.mayCall(ctx, c, c.Endpoint) == nil {
		if _, err := e.service(ctx, c); errors.Code(err) != codes.NotFound {
			return nil // another error comes again, in its place
		}
	}
	var err error
	c.method = otherwise
	c.Service, c.Endpoint, err = split(otherwise)
	return err
}

// absent turns an error of the look-up into what helps a caller whose token was
// forgotten or is bad, and who was therefore looked up in the wrong namespace.
func (c *Call) absent(err error) error {
	switch {
	case c.Caller != nil || errors.Code(err) != codes.NotFound:
		return err
	case c.badToken != nil:
		return c.unauthorized()
	default:
		return errors.New(codes.NotFound, "%v in namespace %s, where calls without a token go", err, c.Namespace).From("go.micro.client")
	}
}
