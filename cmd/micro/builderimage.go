package main

import (
	"github.com/spf13/cobra"

	"github.com/micro/platform/builder"
)

func builderImageCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "builder-image",
		Short: "Make the image that Go sources are built in, from this machine's Go",
		Long: `Imports an image into Docker that has this machine's Go toolchain, with caches
that are warm with what a new service needs. Does nothing when it is there.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return builder.MakeImage(cmd.Context(), cmd.OutOrStdout())
		},
	}
}
