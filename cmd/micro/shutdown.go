package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/local"
	"github.com/micro/platform/internal/settings"
)

// shutdownTimeout is longer than the ten seconds that a server takes at most.
const shutdownTimeout = 20 * time.Second

func shutdownCommand() *cobra.Command {
	environ := settings.Environ()
	cmd := &cobra.Command{
		Use: "shutdown", Short: "Stop the server that runs on this machine", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var o local.Options
			if err := settings.Load("server", &o, environ); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), shutdownTimeout)
			defer cancel()
			return local.Shutdown(ctx, o)
		},
	}
	cmd.Flags().Var(environFlag{environ, "MICRO_SERVER_DATA_DIR"}, "data-dir", "where the server keeps its data, same as MICRO_SERVER_DATA_DIR")
	return cmd
}
