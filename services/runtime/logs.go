package runtime

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	builderpb "github.com/micro/platform/proto/builder"
	runtimepb "github.com/micro/platform/proto/runtime"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// Bounds of what Logs answers.
const (
	defaultCount = 15 // as the CLI has always had it
	maxCount     = 10_000
	maxLine      = 16 << 10
	// logsRetry is how long a follower waits for containers that are about
	// to be there, when nothing wakes it before.
	logsRetry = time.Second
)

type logStream = grpc.ServerStreamingServer[runtimepb.LogRecord]

// Logs streams the last lines of a service or of its build and, if asked to,
// those that follow.
func (s *Service) Logs(req *runtimepb.LogsRequest, stream logStream) error {
	ctx := stream.Context()
	namespace, err := identity.Admin(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return err
	}
	name, version, err := checkName(req.GetService(), req.GetVersion())
	if err != nil {
		return err
	}
	k := key{namespace, name, version}
	found, err := s.db.read(ctx, k)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New(codes.NotFound, "Logs not found for service %s", name)
	}
	t, err := s.peers.Tenants.Of(ctx, namespace)
	if err != nil {
		return err
	}
	out := &lines{stream: stream, since: max(req.GetSince(), s.oldest(t.Limits.LogRetention))}
	count := clampCount(req.GetCount())
	if req.GetBuild() {
		return s.buildLogs(ctx, k, req.GetStream(), count, out)
	}
	if req.GetStream() {
		return s.followLogs(ctx, k, count, out)
	}
	return s.recentLogs(ctx, k, count, out)
}

// oldest is the Unix time of the first line that is still shown.
func (s *Service) oldest(kept plans.Limit) int64 {
	if kept.Unlimited() {
		return 0
	}
	return s.now().Add(-kept.Duration()).Unix()
}

func clampCount(n int64) int64 {
	if n <= 0 {
		return defaultCount
	}
	return min(n, maxCount)
}

// recentLogs sends the last lines of the newest revision that has any.
func (s *Service) recentLogs(ctx context.Context, k key, count int64, out *lines) error {
	all, err := s.db.revisions(ctx, k)
	if err != nil {
		return err
	}
	for _, rev := range all {
		if rev.Tail != "" {
			return out.text(lastLines(rev.Tail, count), rev.Since)
		}
		if rev.Account == "" {
			continue
		}
		err := s.containerLogs(ctx, rev, count, false, out)
		if errors.Code(err) != codes.NotFound {
			return err
		}
	}
	return nil
}

// followLogs sends the lines of a service from revision to revision until it is
// deleted or the caller leaves. It waits for a service that is not up yet.
func (s *Service) followLogs(ctx context.Context, k key, count int64, out *lines) error {
	changed, leave := s.hub.subscribe(k.String())
	defer leave()
	var told int64 // revisions up to this one have been sent
	for {
		all, err := s.db.revisions(ctx, k)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return nil // deleted
		}
		for _, rev := range all {
			if rev.Number <= told {
				break
			}
			if rev.Tail != "" {
				if err := out.text(lastLines(rev.Tail, count), rev.Since); err != nil {
					return err
				}
				told = rev.Number
				break
			}
			if rev.Account == "" {
				continue
			}
			err := s.containerLogs(ctx, rev, count, true, out)
			if err != nil && errors.Code(err) != codes.NotFound {
				return err
			}
			if err == nil {
				told = rev.Number
				break
			}
		}
		if err := waitChange(ctx, changed); err != nil {
			return err
		}
	}
}

func waitChange(ctx context.Context, changed <-chan struct{}) error {
	t := time.NewTimer(logsRetry)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-t.C:
	}
	return nil
}

// containerLogs sends the last lines of a revision's containers, also of those
// that crashed and that Docker does not have any more, and with follow set those
// that come.
func (s *Service) containerLogs(ctx context.Context, rev revision, count int64, follow bool, out *lines) error {
	kept, err := s.db.crashes(ctx, rev.key)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(identity.AsComponent(ctx))
	defer cancel()
	stream, err := s.peers.Scheduler.Logs(ctx, &schedulerpb.LogsRequest{Id: rev.id().message(), Follow: follow, Count: count})
	if err != nil {
		return fmt.Errorf("read logs: %w", err)
	}
	var there []logLine // what is sent when all of it is there
	for begun := false; ; {
		line, err := stream.Recv()
		if err != nil && err != io.EOF {
			return fmt.Errorf("read logs: %w", err)
		}
		if !begun && (err == io.EOF || line.GetReady()) {
			begun = true
			if err := out.all(join(there, kept, rev.Number, count)); err != nil {
				return err
			}
		}
		switch l := (logLine{At: line.GetTimestamp(), Text: line.GetMessage(), container: line.GetContainer()}); {
		case err == io.EOF:
			return nil
		case line.GetReady():
		case !begun:
			there = append(there, l)
		default:
			if err := out.all([]logLine{l}); err != nil {
				return err
			}
		}
	}
}

// join puts the lines that Docker has of a revision and those of crashed
// containers that it does not have in the order of time, and answers the last
// ones.
func join(there []logLine, kept []crash, revision, count int64) []logLine {
	known := map[string]bool{}
	for _, l := range there {
		known[l.container] = true
	}
	for _, c := range kept {
		if c.Revision == revision && !known[c.Container] {
			there = append(there, c.Lines...)
		}
	}
	slices.SortStableFunc(there, func(a, b logLine) int { return cmp.Compare(a.At, b.At) })
	return there[max(0, len(there)-int(count)):]
}

// buildLogs sends the log of the newest revision's build: all of it to a
// follower, else its last lines.
func (s *Service) buildLogs(ctx context.Context, k key, follow bool, count int64, out *lines) error {
	changed, leave := s.hub.subscribe(k.String())
	defer leave()
	for {
		all, err := s.db.revisions(ctx, k)
		if err != nil || len(all) == 0 {
			return err
		}
		err = s.buildLog(ctx, all[0], follow, count, out)
		if errors.Code(err) != codes.NotFound {
			return err
		}
		if !follow || !all[0].State.underway() {
			return nil // there is no log
		}
		if err := waitChange(ctx, changed); err != nil {
			return err
		}
	}
}

func (s *Service) buildLog(ctx context.Context, rev revision, follow bool, count int64, out *lines) error {
	ctx, cancel := context.WithCancel(identity.AsComponent(ctx))
	defer cancel()
	stream, err := s.peers.Builder.Logs(ctx, &builderpb.LogsRequest{Id: rev.build(), Follow: follow})
	if err != nil {
		return fmt.Errorf("read build log: %w", err)
	}
	if !follow {
		out.keep = int(count)
	}
	for {
		chunk, err := stream.Recv()
		if err == io.EOF {
			return out.flush()
		}
		if err != nil {
			return fmt.Errorf("read build log: %w", err)
		}
		if err := out.write(chunk.GetData()); err != nil {
			return err
		}
	}
}

// lines sends lines to a caller. Chunks of bytes become lines; with keep set
// only the last ones are sent, at flush.
type lines struct {
	stream logStream
	since  int64 // Unix seconds; what is older is left out
	keep   int

	rest []byte // of a line that has not ended
	last []string
}

func (l *lines) send(line string, at time.Time) error {
	stamp := int64(0)
	if !at.IsZero() {
		stamp = at.Unix()
	}
	if l.since > 0 && stamp > 0 && stamp < l.since {
		return nil
	}
	if len(line) > maxLine {
		line = line[:maxLine] + "…"
	}
	return l.stream.Send(&runtimepb.LogRecord{Timestamp: stamp, Message: strings.ToValidUTF8(line, "�")})
}

func (l *lines) all(lines []logLine) error {
	for _, n := range lines {
		if err := l.send(n.Text, time.UnixMilli(n.At)); err != nil {
			return err
		}
	}
	return nil
}

func (l *lines) text(text string, at time.Time) error {
	for line := range strings.Lines(text) {
		if err := l.send(strings.TrimRight(line, "\r\n"), at); err != nil {
			return err
		}
	}
	return nil
}

func (l *lines) write(data []byte) error {
	for {
		line, rest, ended := bytes.Cut(data, []byte("\n"))
		if room := maxLine - len(l.rest); len(line) > room {
			line = line[:max(room, 0)]
		}
		l.rest = append(l.rest, line...)
		if !ended {
			return nil
		}
		if err := l.line(strings.TrimRight(string(l.rest), "\r")); err != nil {
			return err
		}
		l.rest, data = l.rest[:0], rest
	}
}

func (l *lines) line(line string) error {
	if l.keep == 0 {
		return l.send(line, time.Time{})
	}
	if l.last = append(l.last, line); len(l.last) > l.keep {
		l.last = l.last[1:]
	}
	return nil
}

func (l *lines) flush() error {
	if len(l.rest) > 0 {
		if err := l.line(string(l.rest)); err != nil {
			return err
		}
	}
	for _, line := range l.last {
		if err := l.send(line, time.Time{}); err != nil {
			return err
		}
	}
	return nil
}

// lastLines answers the last n lines of a text.
func lastLines(text string, n int64) string {
	all := strings.SplitAfter(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-int(n)):], "")
}

// Bounds of what is kept of a process that did not start.
const (
	tailLines = 100
	maxTail   = 16 << 10
)

// lastLines answers what the processes of a revision said last. It is kept when
// a start fails, since the containers are not.
func (r *reconciler) lastLines(ctx context.Context, rev revision) string {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	stream, err := r.svc.peers.Scheduler.Logs(ctx, &schedulerpb.LogsRequest{Id: rev.id().message(), Count: tailLines})
	if err != nil {
		return ""
	}
	var b strings.Builder
	for b.Len() < maxTail {
		line, err := stream.Recv()
		if err != nil {
			break // the end, or all that can be had
		}
		b.WriteString(line.GetMessage() + "\n")
	}
	return storable(b.String(), maxTail)
}
