package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/remote"
	"github.com/micro/platform/internal/cli/terminal"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// defaultLines is how many lines logs shows unless somebody wants more.
const defaultLines = 15

func logsCommand(c *cli) *cobra.Command {
	var req runtimepb.LogsRequest
	var before crashes
	var format string
	cmd := &cobra.Command{
		Use:               "logs NAME[@VERSION]",
		Short:             "Show the log of a service",
		Example:           "  micro logs -f helloworld\n  micro logs --build -n 100 helloworld\n  micro logs --previous helloworld",
		Args:              exactly("NAME"),
		ValidArgsFunction: c.completeServices,
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			if format != "" && format != "json" {
				return usage("--output is %q: json is possible", format)
			}
			var err error
			if req.Service, req.Version, err = nameAndVersion(args[0]); err != nil {
				return err
			}
			if before.wanted() {
				if req.GetStream() || req.GetBuild() {
					return usage("--previous and --crash are for what has ended: --follow and --build do not go with them")
				}
				before.inJSON = format == "json"
				return c.printCrashes(ctx, x, &req, before)
			}
			err = c.readLogs(ctx, x, &req, func(r *runtimepb.LogRecord) { c.printLog(r, format == "json") })
			switch {
			case ctx.Err() != nil:
				return err // Ctrl-C is how following ends
			case errors.Code(err) == codes.NotFound:
				return fail(exitFailed, "Service not found: \"micro status\" lists what is deployed")
			case err != nil:
				text, code := x.Explain(err)
				if code == remote.ExitError {
					code = remote.ExitOther
				}
				return fail(code, "Error reading logs: %s", text)
			}
			return nil
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&req.Stream, "follow", "f", false, "keep printing new lines")
	f.Int64VarP(&req.Count, "lines", "n", defaultLines, "`number` of past lines to start with")
	f.BoolVar(&req.Build, "build", false, "the log of the newest build, instead of the service's")
	f.BoolVarP(&before.previous, "previous", "p", false, "the last lines of the instance that ended last, crashed or not; with --output json, of all that are kept")
	f.IntVar(&before.number, "crash", 0, "the last lines of the `N`th last crash, 1 being the last")
	f.StringVarP(&format, "output", "o", "", "json, or lines as they are")
	return cmd
}

// readLogs hands over each line of a log.
func (c *cli) readLogs(ctx context.Context, x *client, req *runtimepb.LogsRequest, each func(*runtimepb.LogRecord)) error {
	req.Options = &runtimepb.LogsOptions{Namespace: x.Namespace}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := x.runtime().Logs(ctx, req)
	if err != nil {
		return err
	}
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		each(r)
	}
}

func (c *cli) printLog(r *runtimepb.LogRecord, inJSON bool) {
	if !inJSON {
		fmt.Fprintln(c.Out, terminal.Inert(r.GetMessage()))
		return
	}
	b, err := json.Marshal(struct {
		Message  string
		Metadata map[string]string
	}{r.GetMessage(), r.GetMetadata()})
	if err != nil { // texts always marshal
		panic(err)
	}
	fmt.Fprintln(c.Out, terminal.Inert(string(b)))
}
