package multihost

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGVisor has services in gVisor, which only two of the hosts have: they are
// placed there, called and updated, and reach each other and what is outside.
func TestGVisor(t *testing.T) {
	if os.Getenv(full) == "" {
		t.Skip("scheduler/swarm.TestOverlayInGVisor is its short form; make multihost, or " + full + "=1")
	}
	skipWithout(t)
	f := setup(t, newSite(t, newRig(t, 2), 1))
	command(t, f.alice, "new", service)
	f.write(t)
	command(t, f.alice, "run", "./"+service)
	command(t, f.alice, "scale", service, "2")
	f.contained(t, 2)
	if err := f.routed(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	f.replace(t, "rolling update in gVisor")
	f.contained(t, 2)

	outside := f.outside(t)
	command(t, f.alice, "new", "caller")
	writeCaller(t, filepath.Join(f.alice.Home, "caller"))
	command(t, f.alice, "run", "./caller")
	for _, tt := range []struct{ name, want string }{
		{"worker 1ms by way of the edge", "1ms by way of the edge from code 1"},
		{"get " + outside, "you are outside"},
		{"get http://" + f.site.Rig.Nodes[0].Address + ":8088", "Forbidden"},
	} {
		if got := command(t, f.alice, "caller", "call", "--name="+tt.name); !strings.Contains(got, tt.want) {
			t.Errorf("call %q: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// contained waits for so many replicas, all on hosts with gVisor.
func (f *fixture) contained(t *testing.T, want int) {
	t.Helper()
	where, err := f.running(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range f.site.Rig.Nodes {
		if where[n.Name] > 0 && !n.GVisor {
			t.Errorf("%s has no gVisor and %d replicas", n.Name, where[n.Name])
		}
	}
}

// outside is a page that the proxies have services reach.
func (f *fixture) outside(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", f.site.Rig.Address+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "you are outside") })}
	go s.Serve(l) //nolint:errcheck // it ends by Close
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String()
}

// caller is a service that calls another, or fetches a page, as it is told.
var caller = map[string]string{
	"main.go": `package main

import (
	"github.com/micro/platform/framework/logger"
	"github.com/micro/platform/framework/service"

	"caller/handler"
)

func main() {
	srv := service.New(service.Name("caller"))
	if err := srv.Handle(&handler.Caller{Client: srv.Client()}); err != nil {
		logger.Fatal(err)
	}
	if err := srv.Run(); err != nil {
		logger.Fatal(err)
	}
}
`,
	"handler/caller.go": `package handler

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/micro/platform/framework/client"

	pb "caller/proto"
)

type Caller struct{ Client client.Client }

// Call does "worker NAME" or "get URL".
func (c *Caller) Call(ctx context.Context, req *pb.Request, rsp *pb.Response) error {
	what, of, _ := strings.Cut(req.Name, " ")
	if what == "worker" {
		return c.Client.Call(ctx, c.Client.NewRequest("worker", "Worker.Call", &pb.Request{Name: of}), rsp)
	}
	page, err := http.Get(of)
	if err != nil {
		return err
	}
	defer page.Body.Close()
	b, err := io.ReadAll(page.Body)
	rsp.Msg = page.Status + " " + string(b)
	return err
}

func (c *Caller) Stream(context.Context, *pb.StreamingRequest, pb.Caller_StreamStream) error { return nil }

func (c *Caller) PingPong(context.Context, pb.Caller_PingPongStream) error { return nil }
`,
}

// writeCaller turns a project fresh from micro new caller into that service.
func writeCaller(t *testing.T, dir string) {
	t.Helper()
	for name, text := range caller {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
