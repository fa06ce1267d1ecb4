package swarm

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pause"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// TestDockerAway takes the way to Docker away and gives it back.
func TestDockerAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	far, way := b.far(t)
	s := b.plan(t, "ns", "web", "serve", ":8080")
	if err := far.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	far.wait(t, s.ID, running)
	way.close()
	began := time.Now()
	err := far.Apply(t.Context(), s)
	if errors.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "Docker is not reachable at "+way.socket) {
		t.Errorf("Apply = %v after %v", err, time.Since(began))
	}
	for deadline := time.Now().Add(10 * time.Second); ; pause.For(t.Context(), 50*time.Millisecond) {
		if _, err := far.List(); errors.Code(err) == codes.Unavailable {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("List goes on answering")
		}
	}
	if err := far.Watch(t.Context(), func(s *schedulerpb.Status) error {
		t.Errorf("a watcher hears %v while nothing is known", s)
		return nil
	}); errors.Code(err) != codes.Unavailable {
		t.Errorf("Watch = %v", err)
	}
	// What happens meanwhile is known when Docker is back.
	if err := b.Remove(t.Context(), s.ID, 0); err != nil {
		t.Error(err)
	}
	way.open(t)
	for {
		select {
		case st := <-far.states:
			if st.GetReady() {
				return
			}
			t.Errorf("state = %v", st)
		case <-time.After(20 * time.Second):
			t.Fatal("Docker is not watched again")
		}
	}
}

// TestStartWaitsForDocker: the time in which a container has to answer does not go
// by while Docker is away.
func TestStartWaitsForDocker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	far, way := b.far(t)
	s := b.plan(t, "ns", "web", "idle")
	b.apply(t, s)
	far.wait(t, s.ID, starting)
	way.close()
	b.wait(t, s.ID, failed) // it has had its time
	way.open(t)
	back := time.Now()
	far.wait(t, s.ID, failed)
	if took := time.Since(back); took < b.opts.Start/4 {
		t.Errorf("it has failed %v after Docker was back", took)
	}
}

// far is another driver of the same cluster, and its way to Docker.
func (b *bench) far(t *testing.T) (*bench, *way) {
	t.Helper()
	w := newWay(t)
	engine, err := client.NewClientWithOpts(client.WithHost("unix://"+w.socket), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	far := &bench{Driver: New(engine, b.opts, b.log), engine: engine, states: make(chan *schedulerpb.Status, 1000)}
	far.run(t)
	return far, w
}

// way is a socket that leads to Docker's.
type way struct {
	socket string
	mu     sync.Mutex
	l      net.Listener
	conns  []net.Conn
	work   sync.WaitGroup
}

func newWay(t *testing.T) *way {
	w := &way{socket: filepath.Join(t.TempDir(), "docker.sock")}
	w.open(t)
	t.Cleanup(w.close)
	return w
}

func (w *way) open(t *testing.T) {
	l, err := net.Listen("unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.l = l
	w.mu.Unlock()
	w.work.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", "/var/run/docker.sock")
			if err != nil {
				in.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, in, out)
			w.mu.Unlock()
			w.work.Go(func() { io.Copy(out, in); out.Close() })
			w.work.Go(func() { io.Copy(in, out); in.Close() })
		}
	})
}

func (w *way) close() {
	w.mu.Lock()
	w.l.Close()
	for _, c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.work.Wait()
}
