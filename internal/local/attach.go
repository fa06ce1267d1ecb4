package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/settings"
)

// addresses are where the servers of a data directory listen while they run, in
// a file beside their data, for Attach.
type addresses struct {
	Postgres     string `json:"postgres"`
	DurableRedis string `json:"durable_redis"`
}

const addressFile = "addresses"

func (s *Servers) note() error {
	b, err := json.Marshal(addresses{s.Platform.PostgresURL.Reveal(), s.Platform.DurableRedisURL.Reveal()})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Dir, addressFile), b, 0o600) // it has passwords
}

// Attach answers the servers of a micro server: those that p names, and else
// those of its data directory, which are started until stop if it does not run.
// A cluster secret and a bucket that are in neither are not made up; the cluster's
// id is in a data directory that o names, whatever p does.
func Attach(ctx context.Context, o Options, p app.Platform) (_ app.Platform, stop func(context.Context), err error) {
	path, err := o.Dir()
	if err != nil {
		return p, nil, err
	}
	outside := p.PostgresURL != "" && p.DurableRedisURL != ""
	if outside && p.BucketURL != "" && p.ClusterSecret != "" {
		if d := (&dataDir{path: path}); p.Cluster == "" && o.DataDir != "" && d.has(idFile) {
			p.Cluster, err = d.kept(idFile, nil)
		}
		return p, func(context.Context) {}, err
	}
	if _, err := os.Stat(filepath.Join(path, "format")); err != nil {
		return p, nil, fmt.Errorf("%s is not the data directory of a micro server: name it with --data-dir, or name MICRO_POSTGRES_URL, MICRO_DURABLE_REDIS_URL, MICRO_BUCKET_URL and MICRO_CLUSTER_SECRET", path)
	}
	if err := complete(path, p); err != nil {
		return p, nil, err
	}
	s := &Servers{Platform: p, Dir: path, dir: &dataDir{path: path}}
	if outside {
		return s.attached()
	}
	lock, err := os.Open(filepath.Join(path, "lock"))
	if err != nil {
		return p, nil, err
	}
	defer lock.Close()
	if free(lock) {
		s, err := Start(ctx, o, p)
		if err != nil {
			return p, nil, err
		}
		return s.Platform, s.Stop, nil
	}
	b, err := os.ReadFile(filepath.Join(path, addressFile))
	if err != nil {
		return p, nil, fmt.Errorf("the micro server that uses %s is still starting: try again in a moment: %w", path, err)
	}
	var a addresses
	if err := json.Unmarshal(b, &a); err != nil {
		return p, nil, fmt.Errorf("%s: %w", filepath.Join(path, addressFile), err)
	}
	s.Platform.PostgresURL, s.Platform.DurableRedisURL = settings.Secret(a.Postgres), settings.Secret(a.DurableRedis)
	return s.attached()
}

// complete says what neither p names nor the data directory has.
func complete(path string, p app.Platform) error {
	if _, err := os.Stat(filepath.Join(path, secretFile)); p.ClusterSecret == "" && err != nil {
		return fmt.Errorf("%s has no cluster secret: MICRO_CLUSTER_SECRET has to be that of the platform: %w", path, err)
	}
	if _, err := os.Stat(filepath.Join(path, bucketDir)); p.BucketURL == "" && err != nil {
		return fmt.Errorf("%s has no bucket: MICRO_BUCKET_URL has to be that of the platform: %w", path, err)
	}
	return nil
}

// attached fills in what the data directory has.
func (s *Servers) attached() (app.Platform, func(context.Context), error) {
	err := s.fill(s.dir)
	return s.Platform, func(context.Context) {}, err
}

// Adopt makes a new data directory for a platform that has a cluster secret and
// an id already. It fails when there is anything in the directory.
func Adopt(o Options, secret settings.Secret, id string) error {
	path, err := o.Dir()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: name a new directory with --data-dir", path)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return errors.Join(adopt(path, secretFile, secret.Reveal()), adopt(path, idFile, id))
}

func adopt(path, name, text string) error {
	f, err := os.OpenFile(filepath.Join(path, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}
