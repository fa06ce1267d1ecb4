package swarm

import (
	"context"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"
)

// What of a log goes into a reason.
const (
	reasonLines = 20
	reasonBytes = 4 << 10
)

// noImage is in the error of a task whose host does not have its image.
const noImage = "No such image"

// reason says why a task ended. It is asked of Docker once.
func (d *Driver) reason(ctx context.Context, t swarm.Task) string {
	if r, ok := d.reasons[t.ID]; ok {
		return r
	}
	r, final := d.explainEnd(ctx, t)
	if final {
		d.reasons[t.ID] = r
	}
	return r
}

// explainEnd is false when Docker would not tell all of it now.
func (d *Driver) explainEnd(ctx context.Context, t swarm.Task) (string, bool) {
	if hopeless(t) {
		return "the image is not on this host any more: deploy the service again", true
	}
	c := t.Status.ContainerStatus
	if c == nil || c.ContainerID == "" {
		return describe(t.Status.Err, string(t.Status.State)), true
	}
	info, err := d.engine.ContainerInspect(ctx, c.ContainerID)
	if err != nil || info.State == nil {
		return fmt.Sprintf("exited with code %d", c.ExitCode), isGone(err)
	}
	reason := exit(info)
	lines, err := d.tail(ctx, c.ContainerID)
	if text := clipLines(lines); text != "" {
		reason += ":\n" + text
	}
	return reason, err == nil
}

func describe(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return "it ended"
}

// exit says how a container ended.
func exit(c container.InspectResponse) string {
	s := c.State
	switch {
	case s.OOMKilled:
		return fmt.Sprintf("killed: out of memory (limit %d MiB)", c.HostConfig.Memory>>20)
	case s.Error != "":
		return "could not be started: " + s.Error
	case s.ExitCode > 128 && s.ExitCode < 128+65:
		return fmt.Sprintf("ended by signal %d (exit code %d)", s.ExitCode-128, s.ExitCode)
	}
	return fmt.Sprintf("exited with code %d", s.ExitCode)
}

// tail answers the last lines of a container's log.
func (d *Driver) tail(ctx context.Context, id string) ([]string, error) {
	r, err := d.engine.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: fmt.Sprint(reasonLines)})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var lines []string
	err = frames(r, func(text string) error {
		lines = append(lines, strings.TrimRight(text, "\r\n"))
		return nil
	})
	return lines, err
}

// clipLines keeps the end of what the lines say, whole lines where that is
// possible.
func clipLines(lines []string) string {
	if len(lines) > reasonLines {
		lines = lines[len(lines)-reasonLines:]
	}
	text := strings.ToValidUTF8(strings.TrimSpace(strings.Join(lines, "\n")), "\uFFFD")
	if len(text) <= reasonBytes {
		return text
	}
	text = text[len(text)-reasonBytes:]
	if _, rest, ok := strings.Cut(text, "\n"); ok {
		return rest
	}
	return strings.ToValidUTF8(text, "")
}
