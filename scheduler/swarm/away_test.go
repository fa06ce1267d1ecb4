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
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// TestDockerAway takes the way to Docker away and gives it back.
func TestDockerAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	way := newWay(t)
	engine, err := client.NewClientWithOpts(client.WithHost("unix://"+way.socket), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	far := &bench{Driver: New(engine, b.opts, b.log), engine: engine, states: make(chan *schedulerpb.Status, 1000)}
	far.run(t)
	s := b.plan(t, "ns", "web", "serve", ":8080")
	if err := far.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	far.wait(t, s.ID, running)
	way.close()
	began := time.Now()
	err = far.Apply(t.Context(), s)
	if errors.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "Docker is not reachable at "+way.socket) {
		t.Errorf("Apply = %v after %v", err, time.Since(began))
	}
	for deadline := time.Now().Add(10 * time.Second); ; pause(t.Context(), 50*time.Millisecond) {
		if _, err := far.List(); errors.Code(err) == codes.Unavailable {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("List goes on answering")
		}
	}
	// What happens meanwhile is reported when Docker is back, and nothing else.
	if err := b.Remove(t.Context(), s.ID, 0); err != nil {
		t.Error(err)
	}
	way.open(t)
	if st := far.waitFor(t, s.ID, func(*schedulerpb.Status) bool { return true }); st.GetState() != gone {
		t.Errorf("state = %v", st)
	}
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
