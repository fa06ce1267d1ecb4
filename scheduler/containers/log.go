package containers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/micro/platform/scheduler/plan"
)

// What one call answers of what is kept, at most.
const (
	keptLines = 5000
	keptBytes = 16 << 20
)

// Line is a line of a log.
type Line struct {
	Time      time.Time
	Container string
	Text      string
}

// Log answers the last count lines of the containers of a deployment, those that
// have ended included, and how many containers there are. 0 and what is too many
// are as many as are kept.
func (d *Docker) Log(ctx context.Context, id plan.ID, count int) (lines []Line, found int, err error) {
	all, err := d.list(ctx, plan.Labels(d.opts.Cluster, id), true)
	if err != nil {
		return nil, 0, err
	}
	for _, c := range all {
		more, err := d.log(ctx, c.ID, Kept(count))
		if err != nil {
			return nil, 0, err
		}
		lines = Newest(append(lines, more...), count)
	}
	return lines, len(all), nil
}

// log answers the last lines of a container.
func (d *Docker) log(ctx context.Context, id string, count int) ([]Line, error) {
	r, err := d.engine.ContainerLogs(ctx, id, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Timestamps: true, Tail: strconv.Itoa(count),
	})
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log of container %s: %w", id, err)
	}
	defer r.Close()
	var lines []Line
	size := 0
	err = Frames(r, func(frame string) error {
		if at, text, ok := ParseLine(frame); ok {
			lines, size = append(lines, Line{at, id, text}), size+len(text)
		}
		if size > keptBytes {
			lines, size = Newest(lines, count), keptBytes/2
		}
		return nil
	})
	return lines, err
}

// Kept is how many lines are answered to who wants count of them.
func Kept(count int) int {
	if count <= 0 {
		return keptLines
	}
	return min(count, keptLines)
}

// Newest answers the last count lines in the order of time, no more than half of
// what is kept.
func Newest(lines []Line, count int) []Line {
	slices.SortStableFunc(lines, func(a, b Line) int { return cmp.Compare(a.Time.UnixNano(), b.Time.UnixNano()) })
	first, size := len(lines), 0
	for first > 0 && len(lines)-first < Kept(count) && size+len(lines[first-1].Text) <= keptBytes/2 {
		first--
		size += len(lines[first].Text)
	}
	return lines[first:]
}
