package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/backup"
	"github.com/micro/platform/internal/local"
	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/settings"
	"github.com/micro/platform/services/audit"
	"github.com/micro/platform/services/auth"
	"github.com/micro/platform/services/config"
)

// keeper is what backup and restore share: where the platform is, and the
// archive's keys.
type keeper struct {
	*cli
	server server

	passphraseFile string
}

func (k *keeper) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(environFlag{k.server.environ, "MICRO_SERVER_DATA_DIR"}, "data-dir", "of the micro server, same as MICRO_SERVER_DATA_DIR; MICRO_POSTGRES_URL and MICRO_DURABLE_REDIS_URL name other databases")
	f.StringVar(&k.passphraseFile, "passphrase-file", "", "`file` whose first line is the archive's passphrase")
}

func (k *keeper) options(o local.Options) backup.Options {
	return backup.Options{Programs: o.PostgresBin, RedisServer: o.RedisServer, Version: version(),
		Tell: func(format string, args ...any) { fmt.Fprintf(k.Err, format+"\n", args...) }}
}

// named says whether the environment names the databases, both or none. The
// bucket and the cluster secret are else in the data directory.
func named(p app.Platform) (bool, error) {
	postgres, redis := p.PostgresURL != "", p.DurableRedisURL != ""
	if postgres != redis {
		return false, usage("MICRO_POSTGRES_URL and MICRO_DURABLE_REDIS_URL name the databases together: set both, or none for those of a micro server")
	}
	return postgres, nil
}

func backupCommand(c *cli) *cobra.Command {
	k := &keeper{cli: c, server: server{environ: settings.Environ()}}
	var to []string
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Write all that the platform keeps into one encrypted archive", Args: exactly("FILE"),
		Long: `Writes Postgres, the durable Redis, the bucket and the cluster secret into one
archive, or - for the output. The server may run meanwhile. The archive is for
a public key, whose secret key is better kept elsewhere, or for a passphrase.`,
		Example:      "  micro backup key > backup.key           # keep it away from the server\n  micro backup --to age1… platform.backup\n  micro restore --verify --key backup.key platform.backup",
		SilenceUsage: true,
	}
	k.flags(cmd)
	cmd.Flags().StringArrayVar(&to, "to", nil, "public `key` that the archive is for, as micro backup key prints it; several can each read it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		recipients, err := k.recipients(cmd.Context(), to)
		if err != nil {
			return err
		}
		return k.backup(cmd.Context(), args[0], recipients)
	}
	cmd.AddCommand(backupKeyCommand(c))
	return cmd
}

func backupKeyCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "key", Short: "Make a pair of keys for backups", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			public, secret, err := backup.NewKey()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.Out, "# public key, for micro backup --to: %s\n%s\n", public, secret)
			return err
		},
	}
}

func (k *keeper) recipients(ctx context.Context, public []string) ([]age.Recipient, error) {
	if len(public) > 0 && k.passphraseFile != "" {
		return nil, usage("--to and --passphrase-file exclude each other")
	}
	if len(public) > 0 {
		return backup.To(public, "")
	}
	passphrase, err := k.passphrase(ctx, "Passphrase for the archive: ", true)
	if err != nil {
		return nil, err
	}
	return backup.To(nil, passphrase)
}

// passphrase reads it from the file, or asks.
func (k *keeper) passphrase(ctx context.Context, question string, twice bool) (string, error) {
	if k.passphraseFile != "" {
		return backup.Passphrase(k.passphraseFile)
	}
	if !k.Interactive() {
		return "", usage("whom is the archive for? --to KEY (micro backup key makes one), --key FILE to read it, or --passphrase-file FILE")
	}
	return k.askPassphrase(ctx, question, twice)
}

func (k *keeper) backup(ctx context.Context, file string, to []age.Recipient) error {
	p, o, err := k.server.load()
	if err != nil {
		return err
	}
	if _, err := named(p); err != nil {
		return err
	}
	p, stop, err := local.Attach(ctx, o, p)
	if err != nil {
		return err
	}
	defer stopIn(stop)
	if err := checkSecret(ctx, p); err != nil {
		return fmt.Errorf("what is sealed does not open, now or after a restore: is MICRO_CLUSTER_SECRET that of this platform? %w", err)
	}
	if err := checkExchanged(ctx, p); err != nil {
		return err
	}
	write := func(out io.Writer) error {
		end, err := backup.Make(ctx, p, out, to, k.options(o))
		if err == nil {
			fmt.Fprintf(k.Err, "%d tables, %d keys, %d objects\n", len(end.Tables), end.AllKeys(), end.Objects)
		}
		return err
	}
	began := time.Now()
	if file == "-" {
		err = write(k.Out)
	} else {
		err = wholeFile(file, write)
	}
	if err != nil {
		return err
	}
	return noteBackup(ctx, p, began)
}

// noteBackup has the platform's metrics say that there is a backup of that time.
func noteBackup(ctx context.Context, p app.Platform, made time.Time) error {
	b, err := app.OpenBucket(ctx, p.BucketURL)
	if err != nil {
		return err
	}
	defer b.Close()
	return app.NoteBackup(ctx, b, made)
}

func stopIn(stop func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	stop(ctx)
}

func restoreCommand(c *cli) *cobra.Command {
	k := &keeper{cli: c, server: server{environ: settings.Environ()}}
	var keyFile, secretFile string
	var verify bool
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Make a platform of an archive, or see whether one could be made", Args: exactly("FILE"),
		Long: `Fills a new data directory (--data-dir) for micro server, or the empty servers
that the environment names, with an archive of micro backup, or - for the input,
and checks that all of it is there. --verify does it beside whatever runs, in a
directory that is removed again.

Two servers with the data of one platform must not run on the same Docker: stop
the old one first. A service whose image Docker does not have any more says so:
micro update builds it again.`,
		SilenceUsage: true,
	}
	k.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&keyFile, "key", "", "`file` with the secret key, as micro backup key prints it")
	f.BoolVar(&verify, "verify", false, "restore into a directory that is removed again, and say what was in the archive")
	f.StringVar(&secretFile, "cluster-secret", "", "write the cluster secret of the archive to this `file`, and restore nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		keys, err := k.identities(ctx, keyFile)
		if err != nil {
			return err
		}
		in, _, err := c.blobInput(args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		a, err := backup.Open(in, keys)
		if err != nil {
			return err
		}
		defer a.Close()
		fmt.Fprintf(k.Err, "archive of %s, made by micro %s of platform %s\n", a.Head.Made.Local().Format("2006-01-02 15:04:05"), a.Head.Version, a.Head.Cluster)
		if secretFile != "" {
			return writeSecret(secretFile, a.ClusterSecret)
		}
		return k.restore(ctx, a, verify)
	}
	return cmd
}

func (k *keeper) identities(ctx context.Context, keyFile string) ([]age.Identity, error) {
	if keyFile != "" {
		return backup.With(keyFile, "")
	}
	passphrase, err := k.passphrase(ctx, "Passphrase of the archive: ", false)
	if err != nil {
		return nil, err
	}
	return backup.With("", passphrase)
}

func writeSecret(file string, secret settings.Secret) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, strings.NewReader(secret.Reveal()+"\n"))
	return errors.Join(err, f.Sync(), f.Close())
}

func (k *keeper) restore(ctx context.Context, a *backup.Archive, verify bool) error {
	p, o, err := k.server.load()
	if err != nil {
		return err
	}
	outside, err := named(p)
	if err != nil {
		return err
	}
	if outside && !verify {
		if p, _, err = local.Attach(ctx, o, p); err != nil {
			return err
		}
		end, err := a.Restore(ctx, p, k.options(o))
		return k.restored(end, "the servers of the environment", err)
	}
	place, err := o.Dir()
	if err != nil {
		return err
	}
	return k.restoreDir(ctx, a, o, place, verify)
}

// restoreDir restores beside place, and gives it that name when all is there.
func (k *keeper) restoreDir(ctx context.Context, a *backup.Archive, o local.Options, place string, verify bool) error {
	if _, err := os.Lstat(place); err == nil && !verify {
		return usage("%s is there already: name a new directory with --data-dir", place)
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(place), ".micro-restore-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it has another name when all went well
	o.DataDir = dir
	if err := local.Adopt(o, a.ClusterSecret, a.Head.Cluster); err != nil {
		return err
	}
	servers, err := local.Start(ctx, o, app.Platform{})
	if err != nil {
		return err
	}
	end, err := a.Restore(ctx, servers.Platform, k.options(o))
	if err == nil && verify {
		err = k.check(ctx, servers.Platform)
	}
	stopIn(servers.Stop)
	if err != nil || verify {
		return k.restored(end, "", err)
	}
	if err := os.Rename(dir, place); err != nil {
		return err
	}
	return k.restored(end, place, nil)
}

// checkSecret logs in as a component, and opens the keys of tokens.
func checkSecret(ctx context.Context, p app.Platform) error {
	pool, err := pg.Open(ctx, p.PostgresURL.Reveal(), p.Secrets(), "auth")
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := auth.Check(ctx, pool, p.Secrets()); err != nil {
		return fmt.Errorf("the keys of tokens: %w", err)
	}
	return nil
}

// check looks into what was restored: whether the keys that it is sealed with
// open it, and whether the audit logs are as they were written.
func (k *keeper) check(ctx context.Context, p app.Platform) error {
	if err := checkSecret(ctx, p); err != nil {
		return err
	}
	open := func(component string) (*pgxpool.Pool, error) {
		return pg.Open(ctx, p.PostgresURL.Reveal(), p.Secrets(), component)
	}
	configs, err := open("config")
	if err != nil {
		return err
	}
	defer configs.Close()
	secrets, err := config.Check(ctx, configs, p.Secrets())
	if err != nil {
		return err
	}
	audits, err := open("audit")
	if err != nil {
		return err
	}
	defer audits.Close()
	rows, err := audit.Check(ctx, audits)
	if err != nil {
		return err
	}
	fmt.Fprintf(k.Out, "Keys and %d secrets open, %d rows of audit logs are as they were written\n", secrets, rows)
	return nil
}

func (k *keeper) restored(end *backup.End, place string, err error) error {
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d tables, %d rows, %d keys, %d objects", len(end.Tables), end.Rows(), end.AllKeys(), end.Objects)
	if place == "" {
		_, err = fmt.Fprintf(k.Out, "The archive is whole: %s\n", what)
		return err
	}
	_, err = fmt.Fprintf(k.Out, "Restored into %s: %s\n", place, what)
	return err
}
