package backup

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"gocloud.dev/blob"

	"github.com/micro/platform/internal/app"
)

// Options are of making a backup and of restoring one.
type Options struct {
	// Programs is the directory of pg_dump and pg_restore; the PATH and where
	// Debian keeps them when it is empty.
	Programs string
	// RedisServer is the program of a Redis server, for a restore.
	RedisServer string
	// Version of this program.
	Version string
	// Tell is told of progress, a line at a time. It may be nil.
	Tell func(format string, args ...any)
}

func (o Options) tell(format string, args ...any) {
	if o.Tell != nil {
		o.Tell(format, args...)
	}
}

// Make writes an archive of all that p keeps to out. The platform may run
// meanwhile.
func Make(ctx context.Context, p app.Platform, out io.Writer, to []age.Recipient, o Options) (*End, error) {
	w, err := newWriter(out, time.Now().UTC(), to)
	if err != nil {
		return nil, err
	}
	head := Head{Format: format, Made: w.made, Version: o.Version, Cluster: p.ClusterID()}
	if err := w.json(headName, head); err != nil {
		return nil, err
	}
	secret := p.ClusterSecret.Reveal()
	if err := w.entry(secretName, int64(len(secret)), strings.NewReader(secret)); err != nil {
		return nil, err
	}
	end := new(End)
	if end.Tables, err = w.postgres(ctx, p.PostgresURL.Reveal(), o); err != nil {
		return nil, err
	}
	if end.Keys, err = w.redis(ctx, p.DurableRedisURL.Reveal(), o); err != nil {
		return nil, err
	}
	if end.Objects, err = w.bucket(ctx, p.BucketURL, o); err != nil {
		return nil, err
	}
	end.Bytes = w.bytes
	if err := w.json(endName, end); err != nil {
		return nil, err
	}
	return end, w.close()
}

func (w *writer) bucket(ctx context.Context, address string, o Options) (int64, error) {
	b, err := app.OpenBucket(ctx, address)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	var n int64
	from := w.bytes
	for list := b.List(nil); ; {
		object, err := list.Next(ctx)
		if err == io.EOF {
			o.tell("bucket: %d objects, %s", n, size(w.bytes-from))
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("list the bucket: %w", err)
		}
		found, err := w.object(ctx, b, object.Key)
		if err != nil {
			return n, err
		}
		if found {
			n++
		}
	}
}

// object writes an object; false is of one that was deleted meanwhile.
func (w *writer) object(ctx context.Context, b *blob.Bucket, key string) (bool, error) {
	r, err := b.NewReader(ctx, key, nil)
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s of the bucket: %w", key, err)
	}
	defer r.Close()
	return true, w.entry(bucketName+"/"+key, r.Size(), r)
}
