package swarm

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pause"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	"github.com/micro/platform/scheduler/containers"
	"github.com/micro/platform/scheduler/plan"
)

// lastWords is how long the last lines of a container take to get here.
const lastWords = time.Second

// line is a line of a log.
type line struct {
	time      time.Time
	task      string
	container string
	text      string
}

// Logs sends the last count lines of a deployment's containers, in the order of
// time, and with follow set those that come, until the deployment is removed.
func (d *Driver) Logs(ctx context.Context, id plan.ID, count int, follow bool, send func(*schedulerpb.LogLine) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &logs{driver: d, id: id, containers: map[string]string{}, send: send}
	last, err := l.kept(ctx, count)
	if err != nil || !follow {
		return d.explain(err)
	}
	if err := send(&schedulerpb.LogLine{Ready: true}); err != nil {
		return err
	}
	watch := make(chan struct{})
	go func() {
		defer close(watch)
		defer cancel()
		d.hub.until(ctx, id)
		if d.stopped(ctx, id) == nil {
			pause.For(ctx, lastWords) //nolint:errcheck // both ways it is over
		}
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
	id         plan.ID
	containers map[string]string // by task
	send       func(*schedulerpb.LogLine) error
}

// kept sends the last lines of what the hosts have, and answers the time of the
// last one. Docker's log of a service is without containers that have only just
// started.
func (l *logs) kept(ctx context.Context, count int) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	last := l.driver.now()
	lines, found, err := l.driver.hosts.log(ctx, l.id, count)
	if err != nil {
		return last, err
	}
	if err := l.exists(ctx, found); err != nil {
		return last, err
	}
	for _, n := range lines {
		if err := l.pass(ctx, line{time: n.Time, container: short(n.Container), text: n.Text}); err != nil {
			return last, err
		}
		last = n.Time
	}
	return last, nil
}

// exists makes sure that there is a deployment, when it has no containers.
func (l *logs) exists(ctx context.Context, containers int) error {
	if containers > 0 {
		return nil
	}
	_, _, err := l.driver.engine.ServiceInspectWithRaw(ctx, plan.Name(l.driver.opts.Cluster, l.id), swarm.ServiceInspectOptions{})
	if isGone(err) {
		return errors.New(codes.NotFound, "%s is not deployed", l.id)
	}
	return err
}

// follow sends what comes after a time, of containers that start later as well.
func (l *logs) follow(ctx context.Context, after time.Time) error {
	r, err := l.driver.engine.ServiceLogs(ctx, plan.Name(l.driver.opts.Cluster, l.id), container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Timestamps: true, Details: true, Follow: true, Since: after.Format(time.RFC3339Nano),
	})
	if err != nil {
		return fmt.Errorf("follow log of %s: %w", l.id, err)
	}
	defer r.Close()
	return containers.Frames(r, func(text string) error {
		n, ok := parseLine(text)
		if !ok || !n.time.After(after) { // sent before
			return nil
		}
		details, text, _ := strings.Cut(n.text, " ")
		n.text, n.task = text, taskOf(details)
		return l.pass(ctx, n)
	})
}

// parseLine reads "time text".
func parseLine(s string) (line, bool) {
	at, text, ok := containers.ParseLine(s)
	return line{time: at, text: text}, ok
}

// taskOf finds the task in the details of a line, which are attributes with
// commas between.
func taskOf(details string) string {
	for d := range strings.SplitSeq(details, ",") {
		if v, ok := strings.CutPrefix(d, containers.LabelTask+"="); ok {
			return v
		}
	}
	return ""
}

func (l *logs) pass(ctx context.Context, n line) error {
	if n.container == "" {
		n.container = l.container(ctx, n.task)
	}
	return l.send(&schedulerpb.LogLine{Timestamp: n.time.UnixMilli(), Message: strings.ToValidUTF8(n.text, "\uFFFD"), Container: n.container})
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
