package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/dynamic"
	"github.com/micro/platform/internal/cli/terminal"
	"github.com/micro/platform/internal/pause"
	registrypb "github.com/micro/platform/proto/registry"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// statuses are the states of a service by their number on the wire.
var statuses = [...]string{"unknown", "pending", "building", "starting", "running", "stopping", "stopped", "error"}

const (
	statusBuilding = 2
	statusRunning  = 4
	statusStopped  = 6
	statusError    = 7
)

func statusName(n int32) string {
	if n < 0 || int(n) >= len(statuses) {
		return statuses[0]
	}
	return statuses[n]
}

// progress shows how a deploy gets on: a line for each state with the time since
// the start, and on a terminal the last of them ticking.
type progress struct {
	out     io.Writer
	name    string
	live    bool // somebody is watching
	logs    bool // show the build's log
	started time.Time

	mu    sync.Mutex
	state string // what is ticking, "" for nothing
	stop  chan struct{}
}

func newProgress(c *cli, name string, verbose bool) *progress {
	live := terminal.Live(c.Err)
	return &progress{out: c.Err, name: name, live: live, logs: verbose || live, started: time.Now()}
}

// say shows that a state has begun.
func (p *progress) say(state, detail string) {
	p.rest()
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf("%-9s", state)
	if detail != "" {
		text += "  " + terminal.OneLine(detail)
	}
	if !p.live {
		fmt.Fprintln(p.out, p.line(text))
		return
	}
	p.state, p.stop = text, make(chan struct{})
	fmt.Fprint(p.out, p.line(text))
	go p.tick(p.stop)
}

// rest ends the line that ticks.
func (p *progress) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == "" {
		return
	}
	close(p.stop)
	fmt.Fprintf(p.out, "\r\x1b[K%s\n", p.line(p.state))
	p.state = ""
}

func (p *progress) tick(stop <-chan struct{}) {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
			p.mu.Lock()
			if p.state != "" {
				fmt.Fprintf(p.out, "\r\x1b[K%s", p.line(p.state))
			}
			p.mu.Unlock()
		}
	}
}

func (p *progress) line(text string) string {
	return fmt.Sprintf("%6.1fs  %s  %s", time.Since(p.started).Seconds(), p.name, text)
}

// log shows a line of the build's log, above the one that ticks.
func (p *progress) log(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != "" {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintln(p.out, terminal.Dim(p.out, "         "+terminal.OneLine(line)))
	if p.state != "" {
		fmt.Fprint(p.out, p.line(p.state))
	}
}

// logPatience is how long the last lines of a build that failed are waited for.
const logPatience = 2 * time.Second

// follow shows what becomes of a revision until it runs or has failed.
func (c *cli) follow(ctx context.Context, x *client, p *progress, s *runtimepb.Service, revision int64) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	var last *runtimepb.WatchResponse
	var log chan struct{} // closed when the build's log has been shown
	err := c.watchRevision(watching, x, s, revision, func(now *runtimepb.WatchResponse) {
		if now.GetStatus() == statusBuilding && p.logs && log == nil {
			log = make(chan struct{})
			go func() {
				defer close(log)
				c.followBuild(watching, x, p, s)
			}()
		}
		if now.GetStatus() != statusError {
			p.say(statusName(now.GetStatus()), now.GetDetail())
		}
		last = now
	})
	if log != nil {
		if err != nil || last.GetStatus() == statusRunning {
			cancel()
		}
		select { // of a build that failed the last lines are what matters
		case <-log:
		case <-time.After(logPatience):
			cancel()
			<-log
		}
	}
	p.rest()
	switch {
	case ctx.Err() != nil:
		return fail(exitInterrupted, "No longer waiting: the deploy of %s goes on. \"micro status %s\" shows how far it is, \"micro kill %s\" stops it.", s.GetName(), s.GetName(), s.GetName())
	case err != nil:
		return err
	case last.GetStatus() == statusRunning:
		return nil
	}
	return c.failed(ctx, x, s, last, log != nil)
}

// watchRevision hands over each state of a revision until the last. A stream
// that breaks is opened again: a deploy outlives a restart of the server.
func (c *cli) watchRevision(ctx context.Context, x *client, s *runtimepb.Service, revision int64, each func(*runtimepb.WatchResponse)) error {
	var ended bool
	for attempt := 0; ; attempt++ {
		err := c.watchOnce(ctx, x, s, revision, func(now *runtimepb.WatchResponse) {
			attempt = 0
			ended = now.GetStatus() >= statusRunning
			each(now)
		})
		if errors.Code(err) != codes.Unavailable || ended || attempt >= 5 {
			return err
		}
		if err := pause.For(ctx, time.Second); err != nil {
			return err
		}
	}
}

func (c *cli) watchOnce(ctx context.Context, x *client, s *runtimepb.Service, revision int64, each func(*runtimepb.WatchResponse)) error {
	stream, err := x.runtime().Watch(ctx, &runtimepb.WatchRequest{Service: s.GetName(), Version: s.GetVersion(), Revision: revision,
		Options: &runtimepb.LogsOptions{Namespace: x.Namespace}})
	if err != nil {
		return err
	}
	for {
		now, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		each(now)
	}
}

// followBuild shows the build's log until it ends. That it cannot be read is
// no reason to stop: the states tell what matters.
func (c *cli) followBuild(ctx context.Context, x *client, p *progress, s *runtimepb.Service) {
	c.readLogs(ctx, x, &runtimepb.LogsRequest{Service: s.GetName(), Version: s.GetVersion(), Build: true, Stream: true}, //nolint:errcheck // as above
		func(r *runtimepb.LogRecord) { p.log(r.GetMessage()) })
}

// failedLines is how much of the build's log is shown when it was not followed.
const failedLines = 50

// failed says why a revision does not run.
func (c *cli) failed(ctx context.Context, x *client, s *runtimepb.Service, last *runtimepb.WatchResponse, shown bool) error {
	if !shown {
		c.readLogs(ctx, x, &runtimepb.LogsRequest{Service: s.GetName(), Version: s.GetVersion(), Build: true, Count: failedLines}, //nolint:errcheck // the reason is said below
			func(r *runtimepb.LogRecord) { fmt.Fprintln(c.Err, terminal.OneLine(r.GetMessage())) })
	}
	reason := strings.TrimSpace(last.GetDetail())
	if last.GetStatus() != statusError {
		reason = "it was replaced or stopped before it ran"
	}
	return fail(exitFailed, "error: %s does not run: %s", s.GetName(), reason)
}

// howToCall prints what to type next.
func (c *cli) howToCall(ctx context.Context, x *client, name string) {
	fmt.Fprintf(c.Out, "%s is running.\n", name)
	e := c.callable(ctx, x, name)
	if e == nil {
		fmt.Fprintf(c.Out, "\n  micro %s --help\n  micro logs -f %s\n", name, name)
		return
	}
	command, flags, body := dynamic.Example(name, e)
	fmt.Fprintf(c.Out, "\n  %s\n  curl -H \"Authorization: Bearer $(micro user token)\" %s/%s -d '%s'\n",
		terminal.OneLine(strings.TrimSpace("micro "+name+" "+command+" "+flags)), apiAddress(x.env.ProxyAddress), terminal.OneLine(dynamic.Path(name, e)), terminal.OneLine(body))
}

// callable answers an endpoint that can be shown as an example.
func (c *cli) callable(ctx context.Context, x *client, name string) *registrypb.Endpoint {
	rsp, err := registrypb.NewRegistryClient(x.Conn).GetService(ctx, &registrypb.GetRequest{Service: name, Options: &registrypb.Options{Domain: x.Namespace}})
	if err != nil || len(rsp.GetServices()) == 0 {
		return nil
	}
	for _, e := range rsp.GetServices()[0].GetEndpoints() {
		if !dynamic.Streams(e) && e.GetMetadata()["subscriber"] != "true" {
			return e
		}
	}
	return nil
}

// apiAddress answers the HTTP address to print in an example: what apiOf says
// where the proxy has one of its usual ports, and else $API, which a person has
// to set.
func apiAddress(proxy string) string {
	if _, port, err := net.SplitHostPort(proxy); err != nil || port == "443" || port == "8081" {
		return apiOf(proxy)
	}
	return "$API"
}
