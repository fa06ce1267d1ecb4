package edge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
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

// Describe describes a service to those who may call it, as a call that is open
// until it is closed: it is held to what a call is, and counts as one. Others get
// the answer that a call gets, whether there is such a service or not. The method
// of r has no meaning.
func (e *Edge) Describe(ctx context.Context, service string, r Request) (*Description, *Call, error) {
	c := &Call{ID: requestID(r.Metadata), Service: service, Endpoint: "openapi.json", edge: e, method: "/" + service + "/openapi.json",
		from: r.Origin.Address, containers: r.Origin.Containers, done: func() {}}
	d, err := e.describe(ctx, c, r)
	if err != nil {
		c.refused(e.calls)
		c.Close()
		return nil, nil, c.explain(err)
	}
	if c.pays() {
		c.count.log = e.calls
	}
	c.count.sent = true
	c.end(nil)
	return d, c, nil
}

func (e *Edge) describe(ctx context.Context, c *Call, r Request) (*Description, error) {
	var err error
	if c.Caller, c.badToken, err = e.authenticate(ctx, r.Metadata, r.Origin.Address); err != nil {
		return nil, err
	}
	if c.Namespace, err = namespace(c.Caller, r.Metadata); err != nil {
		return nil, err
	}
	isCore := reserved.Service(c.Service)
	// For those who may not call all of it, the registry is not asked, and absence
	// has the same answer.
	refused := e.mayCall(ctx, c, c.Endpoint)
	s, _ := e.routes.find(name{c.Namespace, c.Service}, time.Now())
	if !isCore && refused != nil && s == nil {
		return nil, refused
	}
	if err := e.within(ctx, c, isCore); err != nil {
		return nil, err
	}
	if err := e.enter(c, isCore); err != nil {
		return nil, err
	}
	if isCore {
		return e.describeComponent(c)
	}
	if refused == nil {
		if s, err = e.service(ctx, c); err != nil {
			return nil, c.absent(err)
		}
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
	d.Handlers, err = e.reflected(ctx, c)
	return d, err
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

const (
	// telling bounds how long a service may take to describe itself.
	telling = 3 * time.Second
	// maxTelling and maxTellingEach bound the services that are asked to, of all
	// namespaces and of one.
	maxTelling     = 8
	maxTellingEach = 2
	// maxTold bounds the answers that are remembered, toldFor how long. A service
	// that has changed is another one. silentFor is for one that does not describe
	// itself.
	maxTold   = 64
	toldFor   = 10 * time.Minute
	silentFor = 10 * time.Second
)

// told is what services have told about themselves, since to ask them is work.
type told struct {
	asking singleflight.Group
	places *Shares

	mu    sync.Mutex
	known map[*service]tale
}

type tale struct {
	handlers []protoreflect.ServiceDescriptor
	until    time.Time
}

func newTold() *told {
	return &told{places: NewShares(maxTellingEach, maxTelling), known: map[*service]tale{}}
}

func (t *told) find(s *service) (tale, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x, ok := t.known[s]
	return x, ok && time.Now().Before(x.until)
}

func (t *told) remember(s *service, x tale) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= maxTold {
		maps.DeleteFunc(t.known, func(_ *service, x tale) bool { return time.Now().After(x.until) })
	}
	for old := range t.known { // any
		if len(t.known) < maxTold {
			break
		}
		delete(t.known, old)
	}
	t.known[s] = x
}

// reflected answers what the service tells about itself: nothing, if it does
// not know how to, or not in time.
func (e *Edge) reflected(ctx context.Context, c *Call) ([]protoreflect.ServiceDescriptor, error) {
	s := c.target.service
	if x, ok := e.told.find(s); ok {
		return x.handlers, nil
	}
	x, err, _ := e.told.asking.Do(fmt.Sprintf("%p", s), func() (any, error) {
		give, met := e.told.places.take(c.Namespace, c.Caller == nil, 1)
		if met != free {
			return nil, errors.New(codes.ResourceExhausted, "too many services are asked what they are: try again").From("go.micro.proxy").Because(crowded)
		}
		defer give()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), telling) // others wait for it, too
		defer cancel()
		handlers, err := reflectHandlers(ctx, c)
		x := tale{handlers, time.Now().Add(toldFor)}
		if err != nil {
			e.log.DebugContext(ctx, "service does not describe itself", "service", c.Service, "namespace", c.Namespace, "error", err)
			x = tale{nil, time.Now().Add(silentFor)}
		}
		e.told.remember(s, x)
		return x, nil
	})
	if err != nil {
		return nil, err
	}
	return x.(tale).handlers, nil
}
