package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/settings"
)

func serviceCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "service COMPONENT",
		Short: "Run one component of the platform as a process of its own",
		Long: `Runs one component. Its databases, its bucket and the cluster secret come from the
environment (MICRO_POSTGRES_URL, MICRO_REDIS_URL, MICRO_BUCKET_URL,
MICRO_CLUSTER_SECRET), the other components' addresses too
(MICRO_<COMPONENT>_ADDRESS). micro server --print-config lists them all.`,
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			s := server{environ: settings.Environ(), out: cmd.OutOrStdout()}
			selected, err := app.Select(components(), args)
			if err != nil {
				return err
			}
			platform, _, err := s.load()
			if err != nil {
				return err
			}
			if err := s.checkPassword(platform.AdminPassword); err != nil {
				return err
			}
			s.derive()
			collectLess()
			log := newLog(platform)
			spare(log)
			return app.Run(cmd.Context(), app.Config{
				Components: selected, Apart: true, Environ: s.environ, Platform: platform, Log: log,
				Ready: func() { fmt.Fprintf(s.out, "%s is ready\n", args[0]) },
			})
		},
	}
}

func migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use:          "migrate",
		Short:        "Bring the database's schemas up to date",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := server{environ: settings.Environ()}
			p, _, err := s.load()
			if err != nil {
				return err
			}
			if p.PostgresURL == "" || p.ClusterSecret == "" {
				return fmt.Errorf("micro migrate needs MICRO_POSTGRES_URL and MICRO_CLUSTER_SECRET; micro server migrates its own database by itself")
			}
			if err := p.CheckSecrets(); err != nil {
				return err
			}
			return pg.Migrate(cmd.Context(), p.PostgresURL.Reveal(), p.Secrets())
		},
	}
}
