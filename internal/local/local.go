package local

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/settings"
)

// Options come from MICRO_SERVER_*.
type Options struct {
	DataDir     string `env:"DATA_DIR"     help:"where everything is kept; ~/.micro/server when it is empty"`
	User        string `env:"USER"         default:"postgres"     help:"whom Postgres and Redis run as when the server is started by root"`
	PostgresBin string `env:"POSTGRES_BIN" help:"directory of initdb and postgres; looked for when it is empty"`
	RedisServer string `env:"REDIS_SERVER" default:"redis-server" help:"the Redis server's program"`
}

// Servers is what runs.
type Servers struct {
	// Platform is where the components find them; what the caller had set
	// stays as it was.
	Platform app.Platform
	// Fresh says that the data directory was made just now.
	Fresh bool
	// Dir is the data directory.
	Dir string

	dir   *dataDir
	stops []func(context.Context)
	ended chan error
}

// startTimeout is long enough for a first start on a slow disk; a warm one
// takes well under a second.
const startTimeout = time.Minute

// Start starts what p does not name: Postgres, the two Redis servers, and a
// bucket and a cluster secret in the data directory.
func Start(ctx context.Context, o Options, p app.Platform) (*Servers, error) {
	return startAll(ctx, o, p, false)
}

// StartForTests is Start without durability: one Postgres and one Redis, which
// keep nothing.
func StartForTests(ctx context.Context, o Options) (*Servers, error) {
	return startAll(ctx, o, app.Platform{}, true)
}

func startAll(ctx context.Context, o Options, p app.Platform, quick bool) (_ *Servers, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	path, err := o.Dir()
	if err != nil {
		return nil, err
	}
	d, err := openDir(path)
	if err != nil {
		return nil, err
	}
	s := &Servers{Platform: p, Fresh: d.fresh, Dir: path, dir: d, ended: make(chan error, 3)}
	defer func() {
		if err != nil {
			s.Stop(context.WithoutCancel(ctx))
		}
	}()
	if err := s.fill(d); err != nil {
		return nil, err
	}
	if p.PostgresURL != "" && p.RedisURL != "" && p.DurableRedisURL != "" {
		return s, nil // nothing to start, and nobody to start it as
	}
	as, err := lookUser(o.User)
	if err != nil {
		return nil, err
	}
	if err := s.startServers(ctx, o, as, quick); err != nil {
		return s, err
	}
	return s, s.note()
}

// fill sets what needs no server.
func (s *Servers) fill(d *dataDir) error {
	if s.Platform.ClusterSecret == "" {
		secret, err := d.secret(secretFile)
		if err != nil {
			return fmt.Errorf("cluster secret: %w", err)
		}
		s.Platform.ClusterSecret = settings.Secret(secret)
	}
	// While the secret is exchanged the id is not what would follow from it.
	if s.Platform.Cluster == "" && (s.Platform.ClusterAlso == "" || d.has(idFile)) {
		id, err := d.kept(idFile, s.Platform.ClusterID)
		if err != nil {
			return fmt.Errorf("cluster id: %w", err)
		}
		s.Platform.Cluster = id
	}
	if s.Platform.StateDir == "" {
		s.Platform.StateDir = filepath.Join(d.path, "state")
	}
	if s.Platform.BucketURL == "" {
		bucket := filepath.Join(d.path, bucketDir)
		if err := os.MkdirAll(bucket, 0o700); err != nil {
			return err
		}
		// Temporary files beside the blobs, so that a rename is one step.
		s.Platform.BucketURL = (&url.URL{Scheme: "file", Path: bucket, RawQuery: "no_tmp_dir=true&metadata=skip"}).String()
	}
	return nil
}

func (s *Servers) startServers(ctx context.Context, o Options, as runAs, quick bool) error {
	password, err := s.dir.secret("database-password")
	if err != nil {
		return fmt.Errorf("database password: %w", err)
	}
	var pg *postgres
	var rd, kept *redis
	var g errgroup.Group
	if s.Platform.PostgresURL == "" {
		g.Go(func() (err error) {
			pg, err = startPostgres(ctx, o, as, filepath.Join(s.Dir, "postgres"), password, quick)
			return err
		})
	}
	if s.Platform.RedisURL == "" {
		g.Go(func() (err error) {
			rd, err = startVolatile(ctx, o, as, password)
			return err
		})
	}
	if s.Platform.DurableRedisURL == "" && !quick {
		g.Go(func() (err error) {
			kept, err = startDurable(ctx, o, as, filepath.Join(s.Dir, "redis"), password)
			return err
		})
	}
	err = g.Wait()
	if rd != nil {
		s.Platform.RedisURL = settings.Secret(rd.url)
		s.watch(rd.child, syscall.SIGTERM)
	}
	if kept != nil {
		s.Platform.DurableRedisURL = settings.Secret(kept.url)
		s.watch(kept.child, syscall.SIGTERM)
	}
	if pg != nil {
		s.Platform.PostgresURL = settings.Secret(pg.url)
		s.watch(pg.child, syscall.SIGINT) // fast shutdown: roll back what is open, write a checkpoint
	}
	return err
}

func (s *Servers) watch(c *child, sig syscall.Signal) {
	s.stops = append(s.stops, func(ctx context.Context) { c.stop(ctx, sig) })
	go func() {
		<-c.done
		s.ended <- fmt.Errorf("%s ended: %v: %s", c.name, c.err, c.log)
	}()
}

// Ended yields when a server ends by itself.
func (s *Servers) Ended() <-chan error { return s.ended }

// Stop stops the servers; what is still there when ctx ends is killed.
func (s *Servers) Stop(ctx context.Context) {
	for _, stop := range s.stops {
		stop(ctx)
	}
	s.dir.close()
}

// Dir is the data directory.
func (o Options) Dir() (string, error) {
	if o.DataDir != "" {
		return filepath.Abs(o.DataDir)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the home directory, or set --data-dir: %w", err)
	}
	return filepath.Join(home, ".micro", "server"), nil
}
