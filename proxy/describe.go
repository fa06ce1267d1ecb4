package proxy

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/reserved"
	"github.com/micro/platform/internal/rules"
	registrypb "github.com/micro/platform/proto/registry"
)

// Description is what an edge can tell a caller about a service.
type Description struct {
	Namespace, Service string
	// Version is the newest that is known.
	Version string
	// Endpoints are those that the caller may call, by name.
	Endpoints []*registrypb.Endpoint
	// Public has those that everybody may call.
	Public map[string]bool
	// Handlers are what the service itself tells, if it tells anything.
	Handlers []protoreflect.ServiceDescriptor
}

// Describe describes a service to those who may call it. Others get the answer
// that a call gets, whether there is such a service or not. The method of r has
// no meaning.
func (e *Edge) Describe(ctx context.Context, service string, r Request) (*Description, error) {
	c := &Call{ID: requestID(r.Metadata), Service: service, Endpoint: "openapi.json", edge: e, method: "/" + service + "/openapi.json",
		from: r.Origin.Address, done: func() {}}
	d, err := e.describe(ctx, c, r)
	return d, c.Explain(err)
}

func (e *Edge) describe(ctx context.Context, c *Call, r Request) (*Description, error) {
	var err error
	if c.Caller, c.badToken, err = e.authenticate(ctx, r.Metadata, r.Origin.Address); err != nil {
		return nil, err
	}
	if c.Namespace, err = namespace(c.Caller, r.Metadata); err != nil {
		return nil, err
	}
	if reserved.Service(c.Service) {
		return e.describeComponent(c)
	}
	if err := e.enter(c, false); err != nil {
		return nil, err
	}
	defer c.Close()
	s, refused, err := e.describable(ctx, c)
	if err != nil {
		return nil, err
	}
	e.note(ctx, c)
	d := &Description{Namespace: c.Namespace, Service: c.Service, Version: s.version, Public: map[string]bool{}}
	if d.Endpoints, err = e.callable(ctx, c, s, d.Public); err != nil {
		return nil, err
	}
	if len(d.Endpoints) == 0 && refused != nil {
		return nil, refused
	}
	c.target = target{service: s, stream: streaming}
	c.md = forwarded(c, r)
	d.Handlers = e.reflected(ctx, c)
	return d, nil
}

// describable answers the service, and the refusal that holds if the caller may
// call none of its endpoints. For those who may not call all of it, the registry
// is not asked, and absence has the same answer.
func (e *Edge) describable(ctx context.Context, c *Call) (s *service, refused, err error) {
	if refused = e.mayCall(ctx, c, c.Endpoint); refused != nil {
		if s, _ = e.routes.find(name{c.Namespace, c.Service}, time.Now()); s == nil {
			return nil, nil, refused
		}
		return s, refused, nil
	}
	if s, err = e.service(ctx, c); err != nil {
		return nil, nil, c.absent(err)
	}
	return s, nil, nil
}

// callable answers the endpoints that the caller may call, and notes which of
// them everybody may.
func (e *Edge) callable(ctx context.Context, c *Call, s *service, public map[string]bool) ([]*registrypb.Endpoint, error) {
	set, err := e.admitted.set(ctx, c.Namespace)
	if err != nil {
		return nil, err
	}
	var out []*registrypb.Endpoint
	for _, name := range slices.Sorted(maps.Keys(s.endpoints)) {
		public[name] = set.Evaluate(nil, rules.Resource{Type: "service", Name: c.Service, Endpoint: name}).Allowed
		if e.mayCall(ctx, c, name) == nil {
			out = append(out, s.endpoints[name])
		}
	}
	return out, nil
}

// describeComponent describes what a component of the platform serves, which is
// no secret.
func (e *Edge) describeComponent(c *Call) (*Description, error) {
	d := &Description{Namespace: identity.Platform, Service: c.Service, Version: "v1"}
	for api, component := range components {
		if component != c.Service || !strings.HasPrefix(api, c.Service+".") {
			continue
		}
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(api))
		if err != nil {
			return nil, err
		}
		d.Handlers = append(d.Handlers, found.(protoreflect.ServiceDescriptor))
	}
	for name, m := range e.methods {
		if strings.HasPrefix(name, "/"+c.Service+".") {
			d.Endpoints = append(d.Endpoints, m.endpoint)
		}
	}
	if len(d.Endpoints) == 0 {
		return nil, errors.New(codes.NotFound, "service %s: route not found", c.Service).From("go.micro.client")
	}
	return d, nil
}

// telling bounds how long a service may take to describe itself.
const telling = 3 * time.Second

// reflected answers what the service tells about itself: nothing, if it does
// not know how to, or not in time.
func (e *Edge) reflected(ctx context.Context, c *Call) []protoreflect.ServiceDescriptor {
	ctx, cancel := context.WithTimeout(ctx, telling)
	defer cancel()
	handlers, err := reflectHandlers(ctx, c)
	if err != nil {
		e.log.DebugContext(ctx, "service does not describe itself", "service", c.Service, "namespace", c.Namespace, "cause", err)
		return nil
	}
	return handlers
}
