package swarm

import (
	"context"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/swarm"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	hostpb "github.com/micro/platform/proto/host"
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
	where := d.hosts.of(t)
	if where == nil {
		return fmt.Sprintf("exited with code %d", c.ExitCode), false
	}
	is, err := where.End(ctx, c.ContainerID)
	if err != nil {
		return fmt.Sprintf("exited with code %d", c.ExitCode), errors.Code(err) == codes.NotFound
	}
	reason := exit(is)
	if text := clipLines(is.GetLines()); text != "" {
		reason += ":\n" + text
	}
	return reason, true
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
func exit(is *hostpb.EndResponse) string {
	code := is.GetExitCode()
	switch {
	case is.GetOutOfMemory():
		return fmt.Sprintf("killed: out of memory (limit %d MiB)", is.GetMemory()>>20)
	case is.GetError() != "":
		return "could not be started: " + is.GetError()
	case code > 128 && code < 128+65:
		return fmt.Sprintf("ended by signal %d (exit code %d)", code-128, code)
	}
	return fmt.Sprintf("exited with code %d", code)
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
