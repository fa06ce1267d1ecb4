package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/micro/platform/internal/cli/terminal"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// crashes says which of a service's crashes are to be shown.
type crashes struct {
	previous bool
	number   int // counted from the last, 0 for all in JSON and the last in text
	inJSON   bool
}

func (w crashes) wanted() bool { return w.previous || w.number != 0 }

// crash is one as -o json has it.
type crash struct {
	Revision    int64       `json:"revision"`
	Container   string      `json:"container"`
	At          string      `json:"at"`
	Reason      string      `json:"reason"`
	ExitCode    int64       `json:"exit_code"`
	Signal      int64       `json:"signal"`
	OutOfMemory bool        `json:"out_of_memory"`
	Asked       bool        `json:"asked"` // it was no crash
	Lines       []crashLine `json:"lines"`
}

type crashLine struct {
	At      string `json:"at"`
	Message string `json:"message"`
}

// printCrashes shows the last lines of instances that ended: with a number those
// that crashed only.
func (c *cli) printCrashes(ctx context.Context, x *client, req *runtimepb.LogsRequest, w crashes) error {
	if w.number < 0 {
		return usage("--crash is %d: it counts from 1, the last one", w.number)
	}
	rsp, err := x.runtime().Crashes(ctx, &runtimepb.CrashesRequest{Service: req.GetService(), Version: req.GetVersion(), Options: x.revisionOptions()})
	if err != nil {
		return err
	}
	all := rsp.GetCrashes()
	if w.inJSON && w.number == 0 {
		out := []crash{}
		for _, r := range all {
			out = append(out, newCrash(r))
		}
		return c.JSON(out)
	}
	what := "ends of instances"
	if w.number != 0 {
		what, all = "crashes", slices.DeleteFunc(all, (*runtimepb.Crash).GetAsked)
	}
	n := cmp.Or(w.number, 1)
	if n > len(all) {
		return fail(exitFailed, "%d %s of %s are kept", len(all), what, req.GetService())
	}
	if w.inJSON {
		return c.JSON([]crash{newCrash(all[n-1])})
	}
	is := all[n-1]
	fmt.Fprintf(c.Err, "revision %d, instance %s, %s: %s\n", is.GetRevision(), is.GetContainer(), ago(stamp(is.GetAt()), time.Now()), terminal.Inert(is.GetReason()))
	for _, l := range is.GetLines() {
		fmt.Fprintln(c.Out, terminal.Inert(l.GetMessage()))
	}
	return nil
}

func newCrash(r *runtimepb.Crash) crash {
	out := crash{
		Revision: r.GetRevision(), Container: r.GetContainer(), At: stamp(r.GetAt()), Reason: r.GetReason(),
		ExitCode: r.GetExitCode(), Signal: r.GetSignal(), OutOfMemory: r.GetOutOfMemory(), Asked: r.GetAsked(), Lines: []crashLine{},
	}
	for _, l := range r.GetLines() {
		out.Lines = append(out.Lines, crashLine{At: stamp(l.GetTimestamp() * 1000), Message: l.GetMessage()})
	}
	return out
}
