package edge

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	registrypb "github.com/micro/platform/proto/registry"
)

const (
	// remembered is how long the registry's answer about a service holds that no
	// push has told of, so that a name that does not exist cannot make work.
	remembered = time.Second
	// maxAnswers bounds what is remembered.
	maxAnswers = 10_000
)

// name is what a service is looked up by.
type name struct{ namespace, service string }

// version is what a service is registered by.
type version struct {
	name
	version string
}

// service is the versions of a name, as they are at one moment. It is never
// changed, only replaced.
type service struct {
	nodes     []*node
	endpoints map[string]*registrypb.Endpoint
	version   string // the last of them, as text
}

// entry is a version with its nodes.
type entry struct {
	nodes     []*node
	endpoints []*registrypb.Endpoint
}

// answer is what the registry said when it was asked. A nil service is one
// that does not exist.
type answer struct {
	service *service
	nodes   []*node
	until   time.Time
}

// routes knows where every service of every namespace runs.
type routes struct {
	ready chan struct{} // closed at the first snapshot
	once  sync.Once

	mu       sync.RWMutex
	versions map[name]map[string]entry // by version
	services map[name]*service
	answers  map[name]answer
}

func newRoutes() *routes {
	return &routes{ready: make(chan struct{}), versions: map[name]map[string]entry{}, services: map[name]*service{}, answers: map[name]answer{}}
}

// put replaces what is known of a version. Nodes that stay keep their
// connections; those that are gone close theirs after their last call.
func (r *routes) put(v version, s *registrypb.Service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := map[string]*node{}
	all := r.versions[v.name]
	for _, n := range all[v.version].nodes {
		old[n.id+" "+n.address] = n
	}
	e := entry{endpoints: s.GetEndpoints()}
	for _, n := range nodes(s) {
		if kept := old[n.id+" "+n.address]; kept != nil {
			delete(old, n.id+" "+n.address)
			n = kept
		}
		e.nodes = append(e.nodes, n)
	}
	for _, n := range old {
		n.retire()
	}
	if all == nil {
		all = map[string]entry{}
		r.versions[v.name] = all
	}
	if all[v.version] = e; len(e.nodes) == 0 {
		delete(all, v.version)
	}
	if len(all) == 0 {
		delete(r.versions, v.name)
	}
	r.rebuild(v.name)
}

// keep forgets every version that is not in seen.
func (r *routes) keep(seen map[version]bool) {
	r.mu.RLock()
	var gone []version
	for n, all := range r.versions {
		for text := range all {
			if v := (version{n, text}); !seen[v] {
				gone = append(gone, v)
			}
		}
	}
	r.mu.RUnlock()
	for _, v := range gone {
		r.put(v, nil)
	}
	r.once.Do(func() { close(r.ready) })
}

// rebuild wants mu held.
func (r *routes) rebuild(n name) {
	s := &service{endpoints: map[string]*registrypb.Endpoint{}}
	for text, e := range r.versions[n] {
		s.nodes = append(s.nodes, e.nodes...)
		s.version = max(s.version, text)
		for _, d := range e.endpoints {
			s.endpoints[d.GetName()] = d
		}
	}
	if r.services[n] = s; len(s.nodes) == 0 {
		delete(r.services, n)
	}
	r.forget(n)
}

// forget drops an answer that a push has overtaken. It wants mu held.
func (r *routes) forget(n name) {
	for _, old := range r.answers[n].nodes {
		old.retire()
	}
	delete(r.answers, n)
}

// find answers a service that is known, or what the registry has answered a
// moment ago.
func (r *routes) find(n name, now time.Time) (s *service, known bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if s := r.services[n]; s != nil {
		return s, true
	}
	a, ok := r.answers[n]
	return a.service, ok && now.Before(a.until)
}

// remember keeps an answer of the registry for a moment.
func (r *routes) remember(n name, versions []*registrypb.Service, now time.Time) *service {
	a := answer{until: now.Add(remembered)}
	for _, v := range versions {
		a.nodes = append(a.nodes, nodes(v)...)
	}
	if len(a.nodes) > 0 {
		a.service = &service{nodes: a.nodes, endpoints: map[string]*registrypb.Endpoint{}}
		for _, v := range versions {
			a.service.version = max(a.service.version, v.GetVersion())
			for _, d := range v.GetEndpoints() {
				a.service.endpoints[d.GetName()] = d
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.answers) >= maxAnswers {
		for old := range r.answers {
			r.forget(old)
		}
	}
	r.forget(n)
	r.answers[n] = a
	return a.service
}

func (r *routes) close() {
	r.keep(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range r.answers {
		r.forget(n)
	}
}

// nodes makes the nodes of a version. An address has its port in it, or beside
// it.
func nodes(s *registrypb.Service) []*node {
	var out []*node
	for _, n := range s.GetNodes() {
		address := n.GetAddress()
		if _, _, err := net.SplitHostPort(address); err != nil && n.GetPort() > 0 {
			address = net.JoinHostPort(address, strconv.FormatInt(n.GetPort(), 10))
		}
		out = append(out, &node{id: n.GetId(), address: address})
	}
	return out
}

// pick answers the less loaded of two nodes taken at random, so that the edges
// do not all go to the same one. Nodes that were tried are left out, those that
// did not answer lately or are behind a bad network as long as there are others.
func (s *service) pick(tried ...*node) *node {
	good := s.good(tried, time.Now())
	if len(good) == 0 {
		return nil
	}
	i := rand.IntN(len(good))
	a, b := good[i], good[(i+1+rand.IntN(max(len(good)-1, 1)))%len(good)] // two different ones, if there are
	if b.lighter(a) {
		return b
	}
	return a
}

// good answers the nodes to choose from. Where the networks of more than half of
// those that answer are bad, that does not count: the others would have too much.
func (s *service) good(tried []*node, now time.Time) []*node {
	quickest, healthy := s.quickest(), 0
	near := s.filter(tried, func(n *node) bool {
		if !n.healthy() {
			return false
		}
		healthy++
		return n.near(quickest, now)
	})
	if len(near) > 0 && 2*len(near) >= healthy {
		return near
	}
	if healthy > 0 {
		return s.filter(tried, (*node).healthy)
	}
	return s.filter(tried, func(*node) bool { return true })
}

func (s *service) filter(tried []*node, has func(*node) bool) []*node {
	var out []*node
	for _, n := range s.nodes {
		if !slices.Contains(tried, n) && has(n) {
			out = append(out, n)
		}
	}
	return out
}

// quickest answers the shortest round trip to a node, 0 if none is known.
func (s *service) quickest() (least time.Duration) {
	for _, n := range s.nodes {
		if r := time.Duration(n.roundTrip.Load()); r > 0 && (least == 0 || r < least) {
			least = r
		}
	}
	return least
}

// service answers the service that a call is for.
func (e *Edge) service(ctx context.Context, c *Call) (*service, error) {
	n := name{c.Namespace, c.Service}
	s, known := e.routes.find(n, time.Now())
	if !known {
		var err error
		if s, err = e.ask(ctx, n, c); err != nil {
			return nil, err
		}
	}
	if s == nil {
		return nil, errors.New(codes.NotFound, "service %s: route not found", errors.Clip(n.service)).From("go.micro.client")
	}
	return s, nil
}

// lookup answers the target of a call to a service of a namespace.
func (e *Edge) lookup(ctx context.Context, c *Call) (target, error) {
	s, err := e.service(ctx, c)
	if err != nil {
		return target{}, err
	}
	t := target{service: s}
	if d := s.endpoints[c.Endpoint]; d != nil {
		t.endpoint = d
		if t.stream = unary; d.GetMetadata()["stream"] == "true" {
			t.stream = streaming
		}
	}
	return t, nil
}

// watchRoutes follows the registry's changes until the stream breaks.
func (e *Edge) watchRoutes(ctx context.Context) error {
	w, err := e.registry.Watch(identity.AsComponent(ctx), &registrypb.WatchRequest{Options: &registrypb.Options{Domain: "*"}})
	if err != nil {
		return err
	}
	seen := map[version]bool{}
	for {
		r, err := w.Recv()
		if err != nil {
			return err
		}
		if r.GetAction() == "ready" {
			e.routes.keep(seen)
			seen = nil
			continue
		}
		s := r.GetService()
		v := version{name{s.GetOptions().GetDomain(), s.GetName()}, s.GetVersion()}
		if r.GetAction() == "delete" {
			s = nil
		} else if seen != nil {
			seen[v] = true
		}
		e.routes.put(v, s)
	}
}
