package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/micro/platform/builder"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/local"
	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/settings"
	"github.com/micro/platform/services/auth"
	"github.com/micro/platform/services/config"
	"github.com/micro/platform/services/images"
	"github.com/micro/platform/services/namespaces"
	"github.com/micro/platform/services/runtime"
	usageservice "github.com/micro/platform/services/usage"
)

// sealed is what a component seals with the cluster secret.
type sealed struct {
	component string
	columns   []seal.Column
}

func allSealed() []sealed {
	return []sealed{
		{"auth", auth.Sealed()},
		{"config", config.Sealed()},
		{"namespaces", namespaces.Sealed()},
		{"usage", usageservice.Sealed()},
		{"builder", builder.Sealed()},
		{"images", images.Sealed()},
		{"runtime", runtime.Sealed()},
	}
}

// resealed is a line of what was done.
type resealed struct {
	Component string `json:"component"`
	What      string `json:"what"`
	Sealed    int    `json:"sealed"`
	Anew      int    `json:"anew"`
	Left      int    `json:"left"`
	Lost      int    `json:"lost"`
}

// exchange is what is known of an exchange of the cluster secret. Left is sealed
// with the old one, and Lost opens with neither.
type exchange struct {
	Left int        `json:"left"`
	Lost int        `json:"lost"`
	Rows []resealed `json:"sealed"`
}

func resealCommand(c *cli) *cobra.Command {
	s := server{environ: settings.Environ()}
	cmd := &cobra.Command{
		Use: "reseal", Short: "Seal anew what the platform has sealed with another cluster secret", Args: exactly(),
		Long: `Seals all that MICRO_CLUSTER_SECRET_ALSO has sealed with MICRO_CLUSTER_SECRET, and
gives the components' roles in Postgres the passwords that follow from it. The
platform may run meanwhile. Doing it again does what is left. When nothing is,
MICRO_CLUSTER_SECRET_ALSO can go. The whole exchange is in deploy/README.md.`,
		SilenceUsage: true,
	}
	cmd.Flags().Var(environFlag{s.environ, "MICRO_SERVER_DATA_DIR"}, "data-dir", "of the micro server, same as MICRO_SERVER_DATA_DIR; MICRO_POSTGRES_URL and MICRO_DURABLE_REDIS_URL name other databases")
	asJSON := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		p, stop, err := s.attach(cmd.Context())
		if err != nil {
			return err
		}
		defer stopIn(stop)
		x, err := reseal(cmd.Context(), p, func(r resealed) {
			fmt.Fprintf(c.Err, "%s, %s: %d sealed anew\n", r.Component, r.What, r.Anew)
		})
		if err != nil {
			return err
		}
		if inJSON {
			return errors.Join(c.JSON(x), x.err())
		}
		if err := c.Table(x.table()); err != nil {
			return err
		}
		if err := x.err(); err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.Out, x.next(p))
		return err
	}
	return cmd
}

// attach answers where the databases are, those of the environment or of the data
// directory.
func (s *server) attach(ctx context.Context) (app.Platform, func(context.Context), error) {
	p, o, err := s.load()
	if err != nil {
		return p, nil, err
	}
	if _, err := named(p); err != nil {
		return p, nil, err
	}
	p, stop, err := local.Attach(ctx, o, p)
	if err != nil {
		return p, nil, err
	}
	if err := errors.Join(p.CheckSecrets(), checkSecret(ctx, p)); err != nil {
		stopIn(stop)
		return p, nil, err
	}
	return p, stop, nil
}

// reseal sets the passwords of the components, and seals anew. tell hears of each
// page.
func reseal(ctx context.Context, p app.Platform, tell func(resealed)) (exchange, error) {
	var x exchange
	if err := pg.SetPasswords(ctx, p.PostgresURL.Reveal(), p.Secrets()); err != nil {
		return x, err
	}
	err := eachColumn(ctx, p, func(component string, c seal.Column, pool *pgxpool.Pool) error {
		r := resealed{Component: component, What: c.What}
		_, err := c.Seal(ctx, pool, p.Secrets(), func(n seal.Count) {
			if n.Old > r.Anew {
				r.Anew = n.Old
				tell(r)
			}
		})
		if err != nil {
			return err
		}
		n, err := c.Count(ctx, pool, p.Secrets())
		r.Sealed, r.Left, r.Lost = n.All, n.Old, n.Lost
		x.add(r)
		return err
	})
	return x, err
}

// eachColumn goes through all that is sealed.
func eachColumn(ctx context.Context, p app.Platform, do func(component string, c seal.Column, pool *pgxpool.Pool) error) error {
	for _, s := range allSealed() {
		if err := s.each(ctx, p, do); err != nil {
			return fmt.Errorf("%s: %w", s.component, err)
		}
	}
	return nil
}

func (s sealed) each(ctx context.Context, p app.Platform, do func(component string, c seal.Column, pool *pgxpool.Pool) error) error {
	pool, err := pg.Open(ctx, p.PostgresURL.Reveal(), p.Secrets(), s.component)
	if err != nil {
		return err
	}
	defer pool.Close()
	for _, c := range s.columns {
		if err := do(s.component, c, pool); err != nil {
			return err
		}
	}
	return nil
}

// checkExchanged refuses a backup in the middle of an exchange: an archive has
// one cluster secret.
func checkExchanged(ctx context.Context, p app.Platform) error {
	if p.ClusterAlso == "" {
		return nil
	}
	var x exchange
	err := eachColumn(ctx, p, func(component string, c seal.Column, pool *pgxpool.Pool) error {
		n, err := c.Count(ctx, pool, p.Secrets())
		x.add(resealed{Component: component, What: c.What, Sealed: n.All, Left: n.Old, Lost: n.Lost})
		return err
	})
	if err == nil && x.Left > 0 {
		err = fmt.Errorf("%d texts are sealed with MICRO_CLUSTER_SECRET_ALSO, which would not be in the archive: micro reseal first", x.Left)
	}
	return err
}

func (x *exchange) add(r resealed) {
	x.Left += r.Left
	x.Lost += r.Lost
	x.Rows = append(x.Rows, r)
}

func (x exchange) table() [][]string {
	rows := [][]string{{"Component", "What", "Sealed", "Anew", "Left", "Lost"}}
	for _, r := range x.Rows {
		rows = append(rows, []string{r.Component, r.What, strconv.Itoa(r.Sealed), strconv.Itoa(r.Anew), strconv.Itoa(r.Left), strconv.Itoa(r.Lost)})
	}
	return rows
}

// err says why the other secret must not go.
func (x exchange) err() error {
	switch {
	case x.Left > 0:
		return fmt.Errorf("%d texts are still sealed with MICRO_CLUSTER_SECRET_ALSO: a process that has it as MICRO_CLUSTER_SECRET may have sealed them just now. Run micro reseal again", x.Left)
	case x.Lost > 0:
		return fmt.Errorf("%d texts open with neither secret: the platform cannot read them either. Is there another secret, which is to be MICRO_CLUSTER_SECRET_ALSO?", x.Lost)
	}
	return nil
}

// next says what to do when nothing is left.
func (x exchange) next(p app.Platform) string {
	if p.ClusterAlso == "" {
		return "All opens with MICRO_CLUSTER_SECRET."
	}
	return "All opens with MICRO_CLUSTER_SECRET: once every process has it, MICRO_CLUSTER_SECRET_ALSO can go."
}
