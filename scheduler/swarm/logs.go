package swarm

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/plan"
)

// maxLine is the longest line of a log, in bytes. Docker cuts there, too.
const maxLine = 16 << 10

// frames reads the frames in which Docker sends the output of a container:
// eight bytes, the last four of which are the length, and a line.
func frames(r io.Reader, each func(text string) error) error {
	b := bufio.NewReaderSize(r, 64<<10)
	var head [8]byte
	for {
		if _, err := io.ReadFull(b, head[:]); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		size := int64(binary.BigEndian.Uint32(head[4:]))
		line := make([]byte, min(size, maxLine+256)) // with the time in front of it
		if _, err := io.ReadFull(b, line); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, b, size-int64(len(line))); err != nil {
			return err
		}
		if err := each(string(line)); err != nil {
			return err
		}
	}
}

// What one call answers of what is kept, at most.
const (
	keptLines = 5000
	keptBytes = 16 << 20
)

// line is a line of a log.
type line struct {
	time time.Time
	task string
	text string
}

// Logs sends the last count lines of a deployment's containers, in the order of
// time, and with follow set those that come, until the deployment is removed.
func (d *Driver) Logs(ctx context.Context, id plan.ID, count int, follow bool, send func(*schedulerpb.LogLine) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &logs{driver: d, service: plan.Name(d.opts.Cluster, id), containers: map[string]string{}, send: send}
	last, err := l.kept(ctx, count)
	if isGone(err) {
		return errors.New(codes.NotFound, "%s is not deployed", id)
	}
	if err != nil || !follow {
		return d.explain(err)
	}
	watch := make(chan struct{})
	go func() {
		defer close(watch)
		d.hub.until(ctx, id)
		cancel()
	}()
	defer func() { cancel(); <-watch }()
	if err := l.follow(ctx, last); err != nil && ctx.Err() == nil && !isGone(err) {
		return d.explain(err)
	}
	return nil
}

// logs is one call of Logs.
type logs struct {
	driver     *Driver
	service    string
	containers map[string]string // by task
	send       func(*schedulerpb.LogLine) error
}

// kept sends the last lines of what Docker has, and answers the time of the
// last one.
func (l *logs) kept(ctx context.Context, count int) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	last := l.driver.now()
	if count <= 0 || count > keptLines {
		count = keptLines
	}
	var lines []line
	size := 0
	err := l.read(ctx, container.LogsOptions{Tail: strconv.Itoa(count)}, func(n line) error {
		lines, size = append(lines, n), size+len(n.text)
		if len(lines) > 2*keptLines || size > keptBytes {
			lines, size = newest(lines, count)
		}
		return nil
	})
	if err != nil {
		return last, err
	}
	lines, _ = newest(lines, count)
	for _, n := range lines {
		if err := l.pass(ctx, n); err != nil {
			return last, err
		}
		last = n.time
	}
	return last, nil
}

// newest answers the last count lines in the order of time, no more than half
// of keptBytes of them, and their size.
func newest(lines []line, count int) ([]line, int) {
	slices.SortStableFunc(lines, func(a, b line) int { return a.time.Compare(b.time) })
	first, size := len(lines), 0
	for first > 0 && len(lines)-first < count && size+len(lines[first-1].text) <= keptBytes/2 {
		first--
		size += len(lines[first].text)
	}
	return lines[first:], size
}

// follow sends what comes after a time.
func (l *logs) follow(ctx context.Context, after time.Time) error {
	return l.read(ctx, container.LogsOptions{Follow: true, Since: after.Format(time.RFC3339Nano)}, func(n line) error {
		if !n.time.After(after) {
			return nil // sent before
		}
		return l.pass(ctx, n)
	})
}

func (l *logs) read(ctx context.Context, o container.LogsOptions, each func(line) error) error {
	o.ShowStdout, o.ShowStderr, o.Timestamps, o.Details = true, true, true, true
	r, err := l.driver.engine.ServiceLogs(ctx, l.service, o)
	if err != nil {
		return fmt.Errorf("read logs of %s: %w", l.service, err)
	}
	defer r.Close()
	return frames(r, func(text string) error {
		if n, ok := parseLine(text); ok {
			return each(n)
		}
		return nil
	})
}

// parseLine reads "time details text", details being attributes with commas
// between.
func parseLine(s string) (line, bool) {
	stamp, rest, _ := strings.Cut(s, " ")
	details, text, _ := strings.Cut(rest, " ")
	t, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return line{}, false
	}
	n := line{time: t, text: strings.TrimRight(text, "\r\n")}
	if len(n.text) > maxLine {
		n.text = n.text[:maxLine]
	}
	n.text = strings.ToValidUTF8(n.text, "\uFFFD")
	for _, d := range strings.Split(details, ",") {
		if v, ok := strings.CutPrefix(d, labelTask+"="); ok {
			n.task = v
		}
	}
	return n, true
}

func (l *logs) pass(ctx context.Context, n line) error {
	return l.send(&schedulerpb.LogLine{Timestamp: n.time.UnixMilli(), Message: n.text, Container: l.container(ctx, n.task)})
}

// container answers the container of a task, or the task where there is none
// to be found any more.
func (l *logs) container(ctx context.Context, task string) string {
	if c, ok := l.containers[task]; ok {
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := l.driver.engine.TaskList(ctx, swarm.TaskListOptions{Filters: filters.NewArgs(filters.Arg("id", task))})
	c := ""
	if err == nil && len(found) == 1 && found[0].Status.ContainerStatus != nil {
		c = short(found[0].Status.ContainerStatus.ContainerID)
	}
	if c = cmp.Or(c, short(task)); err == nil {
		l.containers[task] = c
	}
	return c
}
