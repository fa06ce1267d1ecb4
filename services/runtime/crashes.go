package runtime

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	runtimepb "github.com/micro/platform/proto/runtime"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

const (
	// keptCrashes is how many are kept of a service, and as many ends that were asked
	// for.
	keptCrashes = 5
	// crashLines and crashBytes bound what is kept of a log.
	crashLines = 100
	crashBytes = 32 << 10
	// linesWait is how long the lines of a container that ended are waited for.
	linesWait = time.Minute
	// loopWindow is how long ago the last crash of a service that is crashing is at
	// most: Docker starts it again after five minutes at the latest.
	loopWindow = 10 * time.Minute
)

// crash is the end of a container that nobody had asked for.
type crash struct {
	Revision    int64
	Container   string
	At          time.Time
	ExitCode    int64
	Signal      int64
	OutOfMemory bool
	Reason      string
	Lines       []logLine
	Asked       bool // it was no crash
}

// logLine is a line of a container's log.
type logLine struct {
	At   int64  `json:"at"` // milliseconds since the epoch
	Text string `json:"text"`

	container string
}

// noteCrashes keeps what there is to know of ends of a revision's containers that
// are new.
func (r *reconciler) noteCrashes(ctx context.Context, rev revision, exits []*schedulerpb.Exit) error {
	var fresh []crash
	for _, e := range exits {
		if !time.UnixMilli(e.GetAt()).After(rev.CrashedAt) {
			continue
		}
		c, ok := r.inspectCrash(ctx, rev, e)
		if !ok {
			r.behind.Store(true)
			break // it and those after it are for the next time
		}
		fresh = append(fresh, c)
	}
	if len(fresh) == 0 {
		return nil
	}
	return r.svc.db.addCrashes(ctx, rev, fresh)
}

// inspectCrash asks for the last lines of a container. It answers false while
// they may still come.
func (r *reconciler) inspectCrash(ctx context.Context, rev revision, e *schedulerpb.Exit) (crash, bool) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c := crash{
		Revision: rev.Number, Container: e.GetContainer(), At: time.UnixMilli(e.GetAt()),
		ExitCode: e.GetExitCode(), Signal: e.GetSignal(), OutOfMemory: e.GetOutOfMemory(), Reason: storable(e.GetText(), maxReason),
		Lines: []logLine{},
	}
	full, err := r.svc.peers.Scheduler.Ended(ctx, &schedulerpb.EndedRequest{Id: rev.id().message(), Container: e.GetContainer()})
	if err != nil {
		return c, errors.Code(err) == codes.NotFound || r.svc.now().Sub(c.At) > linesWait
	}
	c.Lines = lastOf(full.GetLines())
	return c, true
}

// lastOf answers those lines of a log that are kept.
func lastOf(lines []*schedulerpb.LogLine) []logLine {
	first, size := len(lines), 0
	for first > 0 && len(lines)-first < crashLines && size+len(lines[first-1].GetMessage()) <= crashBytes {
		first--
		size += len(lines[first].GetMessage())
	}
	out := []logLine{}
	for _, l := range lines[first:] {
		out = append(out, logLine{At: l.GetTimestamp(), Text: storable(l.GetMessage(), crashBytes)})
	}
	return out
}

// Crashes answers how containers of a service ended, asked to or not.
func (s *Service) Crashes(ctx context.Context, req *runtimepb.CrashesRequest) (*runtimepb.CrashesResponse, error) {
	namespace, err := identity.Admin(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	k, _, err := s.history(ctx, namespace, req.GetService(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	t, err := s.peers.Tenants.Of(ctx, namespace)
	if err != nil {
		return nil, err
	}
	all, err := s.db.crashes(ctx, k)
	if err != nil {
		return nil, err
	}
	rsp := &runtimepb.CrashesResponse{}
	for _, c := range all {
		if c.At.Unix() >= s.oldest(t.Limits.LogRetention) {
			rsp.Crashes = append(rsp.Crashes, c.message())
		}
	}
	return rsp, nil
}

// message is a crash as clients know it.
func (c crash) message() *runtimepb.Crash {
	m := &runtimepb.Crash{
		Revision: c.Revision, Container: c.Container, At: c.At.UnixMilli(),
		ExitCode: c.ExitCode, Signal: c.Signal, OutOfMemory: c.OutOfMemory, Reason: c.Reason, Asked: c.Asked,
	}
	for _, l := range c.Lines {
		m.Lines = append(m.Lines, &runtimepb.LogRecord{Timestamp: l.At / 1000, Message: l.Text})
	}
	return m
}

// crashing says that the containers of a revision end again and again, "" if they
// do not.
func (v view) crashing(now time.Time) string {
	since := now.Sub(v.CrashedAt).Truncate(time.Second)
	if v.Restarts < 2 || since > loopWindow || v.state() != running && v.state() != failed {
		return ""
	}
	return fmt.Sprintf("%d restarts, last: %s (%v ago)", v.Restarts, oneLine(v.LastCrash), max(since, 0))
}
