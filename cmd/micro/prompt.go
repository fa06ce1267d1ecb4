package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/mattn/go-shellwords"
	"github.com/spf13/cobra"
)

// promptCommand reads commands and runs them one after the other, as if each
// had been typed behind "micro".
func promptCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "cli", Short: "Type commands at a prompt", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for {
				line, err := c.Ask(cmd.Context(), "micro> ")
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				if line == "exit" || line == "quit" {
					return nil
				}
				c.runLine(cmd.Context(), line)
			}
		},
	}
}

func (c *cli) runLine(ctx context.Context, line string) {
	args, err := shellwords.Parse(line)
	if err != nil {
		report(ctx, c.Err, nil, usage("%v", err))
		return
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "#") {
		return
	}
	root := rootCommand(c.Terminal)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	report(ctx, c.Err, cmd, err)
}
