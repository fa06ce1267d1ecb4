package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/settings"
	"github.com/micro/platform/internal/telemetry"
)

// readyWithin is less than Docker gives a health check.
const readyWithin = 5 * time.Second

func readyCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ready [COMPONENT]",
		Short: "Check whether a component's process on this host is ready",
		Long: `Asks at MICRO_OPS_ADDRESS, as a health check in a container that has nothing but
this program. The exit code is 0 when the process should get calls. Where the address is
not on loopback, the certificate of COMPONENT is shown.`,
		Args: atMost(1),
	}
	asJSON := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		s := server{environ: settings.Environ()}
		p, _, err := s.load()
		if err != nil {
			return err
		}
		if p.OpsAddress == "" {
			return usage("MICRO_OPS_ADDRESS is empty: the process that is asked needs one")
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), readyWithin)
		defer cancel()
		r, err := app.Ready(ctx, p, strings.Join(args, ""))
		if err != nil {
			return err
		}
		return c.ready(r, inJSON)
	}
	return cmd
}

// ready prints how a process is.
func (c *cli) ready(r telemetry.Report, inJSON bool) error {
	if inJSON {
		if err := c.JSON(r); err != nil {
			return err
		}
	}
	if !r.Ready {
		return fail(exitFailed, "not ready: %s", strings.Join(r.Reasons, "; "))
	}
	if inJSON {
		return nil
	}
	var away []string
	for _, d := range r.Dependencies {
		if d.Away {
			away = append(away, d.Name)
		}
	}
	if len(away) == 0 {
		fmt.Fprintln(c.Out, "ready")
	} else {
		slices.Sort(away)
		fmt.Fprintf(c.Out, "ready, without %s\n", strings.Join(slices.Compact(away), ", "))
	}
	return nil
}
