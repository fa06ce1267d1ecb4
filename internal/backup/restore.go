package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/redis/go-redis/v9"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/jackc/pgx/v5"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/settings"
)

// Archive is an archive that is being read.
type Archive struct {
	Head Head
	// ClusterSecret is the platform's: without it nothing that is sealed in the
	// database can be opened.
	ClusterSecret settings.Secret

	r *reader
}

// Open reads the beginning of an archive.
func Open(in io.Reader, keys []age.Identity) (*Archive, error) {
	r, err := newReader(in, keys)
	if err != nil {
		return nil, err
	}
	a := &Archive{r: r}
	if err := r.json(headName, &a.Head); err != nil {
		return nil, err
	}
	if a.Head.Format != format {
		return nil, fmt.Errorf("the archive has format %d, and this program (of version %s's format %d) does not read it", a.Head.Format, a.Head.Version, format)
	}
	secret, err := r.text(secretName)
	if err != nil {
		return nil, err
	}
	a.ClusterSecret = settings.Secret(secret)
	return a, nil
}

// Close ends the reading.
func (a *Archive) Close() { a.r.close() }

// Restore fills the servers of p, which must be empty, and checks that what is
// there then is what the archive says. An archive that was cut off or changed is
// an error, and the servers are not to be used then.
func (a *Archive) Restore(ctx context.Context, p app.Platform, o Options) (*End, error) {
	if p.ClusterSecret != a.ClusterSecret {
		return nil, errors.New("MICRO_CLUSTER_SECRET is not the one of the archive, so that nothing that is sealed could be opened: --cluster-secret FILE writes the archive's to a file")
	}
	if p.ClusterID() != a.Head.Cluster {
		return nil, fmt.Errorf("the archive is of platform %s: MICRO_CLUSTER_ID must be set to that, which is not what follows from its cluster secret", a.Head.Cluster)
	}
	kept, err := app.OpenRedis(p.DurableRedisURL.Reveal(), "micro-restore", false)
	if err != nil {
		return nil, fmt.Errorf("MICRO_DURABLE_REDIS_URL: %w", err)
	}
	defer kept.Close()
	bucket, err := app.OpenBucket(ctx, p.BucketURL)
	if err != nil {
		return nil, err
	}
	defer bucket.Close()
	if err := checkEmpty(ctx, p.PostgresURL.Reveal(), kept, bucket); err != nil {
		return nil, err
	}
	rows, err := a.postgres(ctx, p, o)
	if err != nil {
		return nil, err
	}
	keys, err := a.redis(ctx, kept, o)
	if err != nil {
		return nil, err
	}
	objects, err := a.bucket(ctx, bucket, o)
	if err != nil {
		return nil, err
	}
	var end End
	if err := a.end(&end); err != nil {
		return nil, err
	}
	return &end, end.compare(rows, keys, objects)
}

func checkEmpty(ctx context.Context, postgres string, kept redis.UniversalClient, bucket *blob.Bucket) error {
	conn, err := pgx.Connect(ctx, postgres)
	if err != nil {
		return fmt.Errorf("reach Postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var n int64
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM ("+tables+") t").Scan(&n); err != nil {
		return fmt.Errorf("list the tables: %w", err)
	}
	if n > 0 {
		return fmt.Errorf("the database has %d tables: a restore needs an empty one", n)
	}
	if n, err = kept.DBSize(ctx).Result(); err != nil {
		return fmt.Errorf("reach the durable Redis: %w", err)
	}
	if n > 0 {
		return fmt.Errorf("the durable Redis has %d keys: a restore needs an empty one", n)
	}
	_, err = bucket.List(nil).Next(ctx)
	if err == nil {
		return errors.New("the bucket has objects: a restore needs an empty one")
	}
	if err != io.EOF {
		return fmt.Errorf("list the bucket: %w", err)
	}
	return nil
}

func (a *Archive) postgres(ctx context.Context, p app.Platform, o Options) (map[string]int64, error) {
	address := p.PostgresURL.Reveal()
	if err := load(ctx, address, a.r.pieces(postgresName), o); err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("reach Postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := count(ctx, conn)
	if err != nil {
		return nil, err
	}
	o.tell("Postgres: %d tables", len(rows))
	return rows, pg.Migrate(ctx, address, p.Secrets()) // roles and grants, too
}

func (a *Archive) redis(ctx context.Context, to redis.UniversalClient, o Options) (int64, error) {
	var total int64
	for i := 0; ; i++ {
		part := fmt.Sprintf("%s/%d", redisName, i)
		h, err := a.r.peek()
		if err != nil {
			return total, err
		}
		if !strings.HasPrefix(h.Name, part+"/") {
			o.tell("Redis: %d keys", total)
			return total, nil
		}
		n, err := copyKeys(ctx, a.r.pieces(part), to, o)
		if err != nil {
			return total, err
		}
		total += n
	}
}

func (a *Archive) bucket(ctx context.Context, to *blob.Bucket, o Options) (int64, error) {
	for n := int64(0); ; n++ {
		h, err := a.r.next(bucketName)
		if err != nil {
			return n, err
		}
		if h == nil {
			o.tell("bucket: %d objects", n)
			return n, nil
		}
		key := strings.TrimPrefix(h.Name, bucketName+"/")
		if err := to.Upload(ctx, key, a.r.tar, &blob.WriterOptions{ContentType: "application/octet-stream"}); err != nil {
			return n, fmt.Errorf("write %s to the bucket: %w", key, err)
		}
	}
}

// end reads the last part, and that nothing comes after it: only then is what was
// read known to be whole.
func (a *Archive) end(end *End) error {
	if err := a.r.json(endName, end); err != nil {
		return err
	}
	switch _, err := a.r.tar.Next(); {
	case err == nil:
		return errors.New("the archive is damaged: it goes on after its end")
	case err != io.EOF:
		return fmt.Errorf("the archive is damaged: %w", err)
	}
	// The tar ends before the last block of the encryption.
	if _, err := io.Copy(io.Discard, a.r.zip); err != nil {
		return fmt.Errorf("the archive is damaged: %w", err)
	}
	return nil
}

// compare says what is not as it is to be. Keys whose life ends while they are
// moved are no loss, so there may be fewer of them.
func (e *End) compare(rows map[string]int64, keys, objects int64) error {
	var wrong []string
	for table, want := range e.Tables {
		if have := rows[table]; have != want {
			wrong = append(wrong, fmt.Sprintf("table %s has %d rows of %d", table, have, want))
		}
	}
	slices.Sort(wrong)
	if objects != e.Objects {
		wrong = append(wrong, fmt.Sprintf("the bucket has %d objects of %d", objects, e.Objects))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("what was restored is not what the archive says: %s", strings.Join(wrong, ", "))
	}
	e.Keys = []int64{keys}
	return nil
}

func isGone(err error) bool { return gcerrors.Code(err) == gcerrors.NotFound }

// size is a number of bytes for a person.
func size(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
