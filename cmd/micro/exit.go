package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/terminal"
)

// Exit codes besides those of calls, which package remote has.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// exitError is an error with the exit code it leads to.
type exitError struct {
	error
	code  int
	typed bool // the mistake is in what was typed
}

func (e exitError) Unwrap() error { return e.error }

func withExit(code int, err error) error {
	if err == nil {
		return nil
	}
	return exitError{error: err, code: code}
}

// fail is an error with the exit code it leads to. Its text is shown as it is:
// scripts look for some, capital letters and all.
func fail(code int, format string, args ...any) error {
	return exitError{error: text(fmt.Sprintf(format, args...)), code: code}
}

// text is an error that is shown to a person as it is.
type text string

func (t text) Error() string { return string(t) }

// usage is an error of the one who typed.
func usage(format string, args ...any) error {
	return exitError{error: fmt.Errorf(format, args...), code: exitUsage, typed: true}
}

// explained gives what a server answered its text and exit code. Errors that
// were made here keep theirs.
func (x *client) explained(err error) error {
	var decided exitError
	if errors.Code(err) == codes.Canceled {
		return err // Ctrl-C
	}
	_, remote := status.FromError(err) // false for an error that was made here
	if err == nil || errors.As(err, &decided) || !remote && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	reason, code := x.Explain(err)
	return fail(code, "%s", reason)
}

// plainExit are the commands whose every failure is exit code 1, whatever the
// server answered: scripts know them so.
var plainExit = map[string]bool{"login": true, "logout": true, "signup": true, "user": true, "auth": true}

// report prints an error and answers the exit code of the process.
func report(ctx context.Context, w io.Writer, cmd *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	var decided exitError
	known := errors.As(err, &decided)
	if ctx.Err() != nil {
		// Whoever pressed Ctrl-C knows why the command ended.
		if known && decided.code == exitInterrupted || !known && errors.Code(err) != codes.Canceled && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(w, terminal.Inert(err.Error()))
		}
		return exitInterrupted
	}
	fmt.Fprintln(w, terminal.Inert(err.Error()))
	if !known {
		return exitFailed
	}
	if !decided.typed && plainExit[topLevel(cmd)] {
		return exitFailed
	}
	return decided.code
}

// topLevel answers the noun of a command: auth of "micro auth list rules".
func topLevel(cmd *cobra.Command) string {
	parts := strings.Fields(cmd.CommandPath())
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}
