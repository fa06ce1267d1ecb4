package swarm

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"syscall"

	"github.com/docker/docker/api/types/swarm"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	hostpb "github.com/micro/platform/proto/host"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// What of a log goes into a reason.
const (
	reasonLines = 20
	reasonBytes = 4 << 10
)

// noImage is in the error of a task whose host does not have its image.
const noImage = "No such image"

// ending is how a task ended: for people, with the last lines of its log, and for
// programs.
type ending struct {
	reason string
	exit   *schedulerpb.Exit
}

// reason says why a task ended.
func (d *Driver) reason(ctx context.Context, t swarm.Task) string {
	e, _ := d.end(ctx, t)
	return e.reason
}

// end answers how a task ended. It is asked of Docker until that tells all of it.
func (d *Driver) end(ctx context.Context, t swarm.Task) (e ending, final bool) {
	if e, ok := d.endings[t.ID]; ok {
		return e, true
	}
	if e, final = d.explainEnd(ctx, t); final {
		d.endings[t.ID] = e
	}
	return e, final
}

// explainEnd is false when Docker would not tell all of it now.
func (d *Driver) explainEnd(ctx context.Context, t swarm.Task) (ending, bool) {
	c := t.Status.ContainerStatus
	switch {
	case hopeless(t):
		return d.endOf(t, "the image is not on this host any more"), true
	case c == nil || c.ContainerID == "":
		return d.endOf(t, cmp.Or(t.Status.Err, string(t.Status.State), "it ended")), true
	}
	e := d.endOf(t, fmt.Sprintf("exited with code %d", c.ExitCode))
	e.exit.Container, e.exit.ExitCode = short(c.ContainerID), int64(c.ExitCode)
	where := d.hosts.of(t)
	if where == nil {
		return e, false
	}
	is, err := where.End(ctx, c.ContainerID)
	if err != nil {
		return e, errors.Code(err) == codes.NotFound
	}
	describe(e.exit, is)
	e.reason = e.exit.GetText()
	if text := clipLines(is.GetLines()); text != "" {
		e.reason += ":\n" + text
	}
	return e, true
}

// endOf is the end of a task of which there is nothing but a text.
func (d *Driver) endOf(t swarm.Task, text string) ending {
	return ending{text, &schedulerpb.Exit{Container: short(t.ID), At: d.hosts.moment(t, t.Status.Timestamp).UnixMilli(), Text: text}}
}

// describe adds what Docker has of the end of a container.
func describe(e *schedulerpb.Exit, is *hostpb.EndResponse) {
	e.ExitCode, e.Signal, e.OutOfMemory, e.Text = is.GetExitCode(), signal(is), is.GetOutOfMemory(), exit(is)
}

// signal is the number of the signal that ended a container, 0 if none did.
func signal(is *hostpb.EndResponse) int64 {
	if code := is.GetExitCode(); code > 128 && code < 128+65 {
		return code - 128
	}
	return 0
}

// exit says how a container ended.
func exit(is *hostpb.EndResponse) string {
	switch code, n := is.GetExitCode(), signal(is); {
	case is.GetOutOfMemory():
		return fmt.Sprintf("killed: out of memory (limit %d MiB)", is.GetMemory()>>20)
	case is.GetError() != "":
		return "could not be started: " + is.GetError()
	case n == int64(syscall.SIGKILL) && is.GetMemory() > 0: // Docker does not hear of every container that is short of memory
		return fmt.Sprintf("ended by signal 9 (exit code 137), as at its memory limit of %d MiB", is.GetMemory()>>20)
	case n != 0:
		return fmt.Sprintf("ended by signal %d (exit code %d)", n, code)
	default:
		return fmt.Sprintf("exited with code %d", code)
	}
}

// clipLines keeps the end of what the lines say, whole lines where that is
// possible.
func clipLines(lines []*hostpb.Line) string {
	var b strings.Builder
	for _, l := range lines[max(0, len(lines)-reasonLines):] {
		b.WriteString(l.GetText() + "\n")
	}
	text := strings.TrimSpace(b.String())
	if len(text) <= reasonBytes {
		return text
	}
	text = text[len(text)-reasonBytes:]
	if _, rest, ok := strings.Cut(text, "\n"); ok {
		return rest
	}
	return strings.ToValidUTF8(text, "")
}
