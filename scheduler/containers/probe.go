package containers

import (
	"net"
	"slices"
	"strconv"
	"time"

	hostpb "github.com/micro/platform/proto/host"
	"github.com/micro/platform/scheduler/plan"
)

// otherPort is how long a program that listens on another port is waited for:
// the first port may be that of its profiler.
const otherPort = time.Second

// probe finds out whether a running container is ready for calls, and where. A
// service that listens on plan.Port is asked there; Micro v4 services choose a
// port of their own, which is found by looking at what the process listens on.
func (d *Docker) probe(s *seen) {
	was := s.is
	if was.GetPort() == plan.Port || was.GetIp() == "" {
		return
	}
	var heard []socket
	if d.opts.Local {
		heard = listening(s.pid, was.GetId())
	}
	at := plan.Port
	if len(heard) > 0 && !hears(heard, plan.Port) { // what a program in gVisor listens on, the host does not see
		at = s.otherwise(heard, time.Now())
	}
	port, health := int(was.GetPort()), was.GetHealth()
	if at == 0 {
		port = 0
	} else if at != port { // where it was ready, it is not asked again
		health = d.ask(s, net.JoinHostPort(was.GetIp(), strconv.Itoa(at)))
		switch {
		case health == hostpb.Health_READY:
			port = at
		case len(heard) == 0:
			port, s.other = 0, time.Time{}
		}
	}
	sockets := messages(heard)
	if port == int(was.GetPort()) && health == was.GetHealth() && slices.EqualFunc(sockets, was.GetListens(), same) {
		return
	}
	s.change(func(c *hostpb.Container) { c.Port, c.Health, c.Listens = int32(port), health, sockets })
}

// otherwise answers another port that the program listens on, the lowest one,
// once that has been so for a moment.
func (s *seen) otherwise(heard []socket, now time.Time) int {
	i := slices.IndexFunc(heard, func(p socket) bool { return !p.loopback })
	if i < 0 {
		s.other = time.Time{}
		return 0
	}
	if s.other.IsZero() {
		s.other = now
	}
	if now.Sub(s.other) < otherPort {
		return int(s.is.GetPort())
	}
	return heard[i].port
}

// socket is a port that a process listens on.
type socket struct {
	port     int
	loopback bool // reached from inside its container only
}

func hears(ports []socket, port int) bool {
	return slices.ContainsFunc(ports, func(p socket) bool { return p.port == port && !p.loopback })
}

func messages(ports []socket) []*hostpb.Socket {
	var out []*hostpb.Socket
	for _, p := range ports {
		out = append(out, &hostpb.Socket{Port: int32(p.port), Loopback: p.loopback})
	}
	return out
}

func same(a, b *hostpb.Socket) bool {
	return a.GetPort() == b.GetPort() && a.GetLoopback() == b.GetLoopback()
}
