package telemetry

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// lookEvery is the time between two looks at what a process stands on.
	lookEvery = 2 * time.Second
	// lookWithin bounds one look.
	lookWithin = time.Second
)

// Health is what a process stands on, and whether it is there.
type Health struct {
	now  func() time.Time
	wake chan struct{} // look at once

	mu      sync.Mutex
	started bool
	leaving bool
	all     []*dependency
	gates   []gate
	told    []func(ready bool)
}

// dependency is one thing that a component stands on.
type dependency struct {
	Dependency
	check func(ctx context.Context) error
}

// gate is something that closes a component.
type gate struct {
	component string
	check     func() error
}

// Dependency is how one is, as operators see it.
type Dependency struct {
	Component string `json:"component"`
	Name      string `json:"name"`
	// Needed says that the component can do nothing without it.
	Needed bool `json:"needed"`
	Away   bool `json:"away"`
	// Since is when it came or went.
	Since time.Time `json:"since"`
	Cause string    `json:"cause,omitempty"`
}

// Report is how a process is.
type Report struct {
	// Ready says that the process should get calls.
	Ready bool `json:"ready"`
	// Degraded says that something is away that it stands on.
	Degraded bool `json:"degraded"`
	// Reasons say why it is not ready.
	Reasons      []string     `json:"reasons,omitempty"`
	Dependencies []Dependency `json:"dependencies"`
}

// NewHealth makes the health of a process that has not started yet.
func NewHealth() *Health { return &Health{now: time.Now, wake: make(chan struct{}, 1)} }

// Watch adds what a component stands on. check is called again and again; it is
// bounded in time.
func (h *Health) Watch(component, name string, needed bool, check func(ctx context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, &dependency{Dependency{Component: component, Name: name, Needed: needed, Since: h.now().UTC()}, check})
}

// Gate adds a reason for which a component may not be ready. check must not wait;
// it may take locks under which others call Watch.
func (h *Health) Gate(component string, check func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gates = append(h.gates, gate{component, check})
}

// Tell has f called with whether the process is ready, again and again.
func (h *Health) Tell(f func(ready bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, f)
}

// Started notes that all components have started, Leave that they were told to
// stop.
func (h *Health) Started() { h.set(&h.started) }

// Leave notes that the process stops.
func (h *Health) Leave() { h.set(&h.leaving) }

func (h *Health) set(flag *bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*flag = true
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Run looks at everything again and again, until ctx ends.
func (h *Health) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		h.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-h.wake:
		}
	}
}

// look looks at everything at once.
func (h *Health) look(ctx context.Context) {
	h.mu.Lock()
	all := slices.Clone(h.all)
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	var looking sync.WaitGroup
	for _, d := range all {
		looking.Go(func() {
			err := d.check(ctx)
			h.mu.Lock()
			defer h.mu.Unlock()
			if away := err != nil; away != d.Away {
				d.Away, d.Since = away, h.now().UTC()
			}
			d.Cause = ""
			if err != nil {
				d.Cause = err.Error()
			}
		})
	}
	looking.Wait()
	ready := h.Report().Ready
	h.mu.Lock()
	told := slices.Clone(h.told)
	h.mu.Unlock()
	for _, f := range told {
		f(ready)
	}
}

// Report answers how the process is.
func (h *Health) Report() Report {
	closed := h.closed()
	h.mu.Lock()
	defer h.mu.Unlock()
	r := Report{Dependencies: make([]Dependency, 0, len(h.all))}
	if !h.started {
		r.Reasons = append(r.Reasons, "the process is starting")
	}
	if h.leaving {
		r.Reasons = append(r.Reasons, "the process stops")
	}
	r.Reasons = append(r.Reasons, closed...)
	for _, d := range h.all {
		r.Dependencies = append(r.Dependencies, d.Dependency)
		if !d.Away {
			continue
		}
		r.Degraded = true
		if d.Needed {
			r.Reasons = append(r.Reasons, d.Component+": "+d.Name+" is away")
		}
	}
	r.Ready = len(r.Reasons) == 0
	slices.SortFunc(r.Dependencies, func(x, y Dependency) int {
		return cmp.Or(cmp.Compare(x.Component, y.Component), cmp.Compare(x.Name, y.Name))
	})
	return r
}

// closed answers why gates are.
func (h *Health) closed() (reasons []string) {
	h.mu.Lock()
	gates := slices.Clone(h.gates)
	h.mu.Unlock()
	for _, g := range gates {
		if err := g.check(); err != nil {
			reasons = append(reasons, g.component+": "+err.Error())
		}
	}
	return reasons
}
