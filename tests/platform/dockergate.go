package platform

import (
	"io"
	"net"
	"path/filepath"
	"sync"
)

// DockerGate stands between a platform and Docker, and can close: to the
// platform Docker is then not there, while for everybody else it is.
type DockerGate struct {
	listener net.Listener

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
}

// dockerSocket is where Docker listens on a machine set up by deploy/prepare.sh.
const dockerSocket = "/var/run/docker.sock"

// NewDockerGate opens a gate with its socket in dir.
func NewDockerGate(dir string) (*DockerGate, error) {
	l, err := net.Listen("unix", filepath.Join(dir, "docker.sock"))
	if err != nil {
		return nil, err
	}
	g := &DockerGate{listener: l, open: map[net.Conn]struct{}{}}
	go g.accept()
	return g, nil
}

// Env is the setting that leads a platform through the gate.
func (g *DockerGate) Env() string { return "DOCKER_HOST=unix://" + g.listener.Addr().String() }

// Shut cuts every connection and lets none through until Open.
func (g *DockerGate) Shut() { g.set(true) }

// Open lets connections through again.
func (g *DockerGate) Open() { g.set(false) }

// Close ends the gate.
func (g *DockerGate) Close() {
	g.listener.Close()
	g.Shut()
}

func (g *DockerGate) set(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = closed
	if !closed {
		return
	}
	for c := range g.open {
		c.Close()
	}
}

func (g *DockerGate) accept() {
	for {
		in, err := g.listener.Accept()
		if err != nil {
			return
		}
		go g.pass(in)
	}
}

func (g *DockerGate) pass(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("unix", dockerSocket)
	if err != nil {
		return
	}
	defer out.Close()
	if !g.keep(in) {
		return
	}
	defer g.forget(in)
	// Docker half-closes streams, so each way ends by itself.
	done := make(chan struct{})
	go func() {
		io.Copy(out, in)                 //nolint:errcheck // cut on purpose
		out.(*net.UnixConn).CloseWrite() //nolint:errcheck // as above
		close(done)
	}()
	io.Copy(in, out)                //nolint:errcheck // as above
	in.(*net.UnixConn).CloseWrite() //nolint:errcheck // as above
	in.Close()
	<-done
}

func (g *DockerGate) keep(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.open[c] = struct{}{}
	return true
}

func (g *DockerGate) forget(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, c)
}
