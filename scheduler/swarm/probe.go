package swarm

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/micro/platform/scheduler/health"
	"github.com/micro/platform/scheduler/plan"
)

// watched is what was found out about a running container.
type watched struct {
	started   time.Time
	pid       int
	ip        string
	namespace string

	address string        // where it is ready; "" as long as it is not
	heard   []portState   // what it listens on, if this machine can tell
	other   time.Time     // since when it listens on another port than plan.Port
	health  health.Answer // the last one
	asking  *asking       // the last check, nil before the first
}

// otherPort is how long a program that listens on another port is waited for:
// the first port may be that of its profiler.
const otherPort = time.Second

// probe finds out whether a running container is ready for calls, and where. A
// service that listens on plan.Port is asked there; Micro v4 services choose a
// port of their own, which is found by looking at what the process listens on.
func (d *Driver) probe(ctx context.Context, c container.Summary) (*watched, error) {
	w := d.containers[c.ID]
	if w == nil {
		var err error
		if w, err = d.meet(ctx, c); err != nil {
			return nil, err
		}
		d.containers[c.ID] = w
	}
	own := net.JoinHostPort(w.ip, strconv.Itoa(plan.Port))
	if w.address == own || w.ip == "" {
		return w, nil
	}
	if d.opts.Local {
		w.heard = listening(w.pid, c.ID)
	}
	at := own
	if len(w.heard) > 0 && !hears(w.heard, plan.Port) { // what a program in gVisor listens on, the host does not see
		at = w.otherwise(d.now())
	}
	switch {
	case at == "":
		w.address = ""
	case at == w.address: // it was ready there
	case d.ask(w, at) == health.Ready:
		w.address = at
	case len(w.heard) == 0:
		w.address, w.other = "", time.Time{}
	}
	return w, nil
}

// meet inspects a container that is new.
func (d *Driver) meet(ctx context.Context, c container.Summary) (*watched, error) {
	info, err := d.engine.ContainerInspect(ctx, c.ID)
	if isGone(err) {
		return &watched{started: d.now()}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inspect container %s: %w", short(c.ID), err)
	}
	w := &watched{started: d.now(), namespace: c.Labels[plan.LabelNamespace]}
	if info.State != nil {
		w.pid = info.State.Pid
		if t, err := time.Parse(time.RFC3339Nano, info.State.StartedAt); err == nil {
			w.started = t
		}
	}
	if info.NetworkSettings != nil {
		for _, n := range info.NetworkSettings.Networks {
			w.ip = n.IPAddress // it is on one network only
		}
	}
	return w, nil
}

// otherwise answers another port that the program listens on, the lowest one,
// once that has been so for a moment.
func (w *watched) otherwise(now time.Time) string {
	i := slices.IndexFunc(w.heard, func(p portState) bool { return !p.loopback })
	if i < 0 {
		w.other = time.Time{}
		return ""
	}
	if w.other.IsZero() {
		w.other = now
	}
	if now.Sub(w.other) < otherPort {
		return w.address
	}
	return net.JoinHostPort(w.ip, strconv.Itoa(w.heard[i].port))
}

// silence says what is wrong with a container that is not ready in time.
func (w *watched) silence(after time.Duration) string {
	switch w.health {
	case health.NotServing:
		return fmt.Sprintf("its health (grpc.health.v1) says NOT_SERVING after %v", after)
	case health.Stuck:
		return fmt.Sprintf("it listens on %s and says nothing to a call within %v", cmp.Or(w.inside(), fmt.Sprintf(":%d", plan.Port)), health.Timeout)
	}
	s := fmt.Sprintf("nothing listens on port %d ($PORT) after %v", plan.Port, after)
	if inside := w.inside(); inside != "" {
		s += fmt.Sprintf("; the program listens on %s only: let it listen on :%d", inside, plan.Port)
	}
	return s
}

// inside lists what the program listens on.
func (w watched) inside() string {
	var out []string
	for _, p := range w.heard {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

func hears(ports []portState, port int) bool {
	return slices.ContainsFunc(ports, func(p portState) bool { return p.port == port && !p.loopback })
}

// portState is a port that a process listens on.
type portState struct {
	port     int
	loopback bool // reached from inside its container only
}

func (p portState) String() string {
	if p.loopback {
		return fmt.Sprintf("127.0.0.1:%d", p.port)
	}
	return fmt.Sprintf(":%d", p.port)
}

func isLoopback(a netip.Addr) bool { return a.Unmap().IsLoopback() }
