package images

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/base"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// driverName is what the registry's configuration calls the driver.
const driverName = "bucket"

// drivers makes drivers of buckets that stand in the registry's configuration.
type drivers struct{}

// Create implements the library's StorageDriverFactory.
func (drivers) Create(_ context.Context, parameters map[string]any) (storagedriver.StorageDriver, error) {
	b, ok := parameters["bucket"].(*blob.Bucket)
	if !ok {
		return nil, errors.New("the registry's storage has no bucket")
	}
	return &base.Base{StorageDriver: driver{b}}, nil // which checks paths
}

// driver stores the registry's files in a bucket. An object is there as a whole
// or not at all.
type driver struct{ bucket *blob.Bucket }

// Name implements storagedriver.StorageDriver.
func (d driver) Name() string { return driverName }

func key(path string) string { return strings.TrimPrefix(path, "/") }

// below is the prefix of what is in a folder.
func below(path string) string {
	if path == "/" {
		return ""
	}
	return key(path) + "/"
}

// found makes the error that the registry knows from the bucket's.
func found(err error, path string) error {
	if gcerrors.Code(err) == gcerrors.NotFound {
		return storagedriver.PathNotFoundError{Path: path, DriverName: driverName}
	}
	return err
}

// GetContent implements storagedriver.StorageDriver.
func (d driver) GetContent(ctx context.Context, path string) ([]byte, error) {
	b, err := d.bucket.ReadAll(ctx, key(path))
	return b, found(err, path)
}

// PutContent implements storagedriver.StorageDriver.
func (d driver) PutContent(ctx context.Context, path string, content []byte) error {
	return d.bucket.Upload(ctx, key(path), bytes.NewReader(content), &blob.WriterOptions{ContentType: contentType})
}

// Reader implements storagedriver.StorageDriver.
func (d driver) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if offset < 0 {
		return nil, storagedriver.InvalidOffsetError{Path: path, Offset: offset, DriverName: driverName}
	}
	r, err := d.bucket.NewRangeReader(ctx, key(path), offset, -1, nil)
	if err != nil {
		return nil, found(err, path)
	}
	return r, nil
}

// Writer implements storagedriver.StorageDriver.
func (d driver) Writer(ctx context.Context, path string, more bool) (storagedriver.FileWriter, error) {
	w := &writer{ctx: ctx, bucket: d.bucket, key: key(path)}
	if !more {
		return w, nil
	}
	a, err := d.bucket.Attributes(ctx, w.key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	w.before = a.Size
	return w, nil
}

// Stat implements storagedriver.StorageDriver.
func (d driver) Stat(ctx context.Context, path string) (storagedriver.FileInfo, error) {
	folder := storagedriver.FileInfoInternal{FileInfoFields: storagedriver.FileInfoFields{Path: path, IsDir: true}}
	if path == "/" {
		return folder, nil
	}
	a, err := d.bucket.Attributes(ctx, key(path))
	if err == nil {
		return storagedriver.FileInfoInternal{FileInfoFields: storagedriver.FileInfoFields{Path: path, Size: a.Size, ModTime: a.ModTime}}, nil
	}
	if gcerrors.Code(err) != gcerrors.NotFound {
		return nil, err
	}
	inside, _, err := d.bucket.ListPage(ctx, blob.FirstPageToken, 1, &blob.ListOptions{Prefix: below(path)})
	if err != nil {
		return nil, err
	}
	if len(inside) == 0 {
		return nil, storagedriver.PathNotFoundError{Path: path, DriverName: driverName}
	}
	return folder, nil
}

// List implements storagedriver.StorageDriver.
func (d driver) List(ctx context.Context, path string) ([]string, error) {
	var all []string
	list := d.bucket.List(&blob.ListOptions{Prefix: below(path), Delimiter: "/"})
	for {
		o, err := list.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		all = append(all, "/"+strings.TrimSuffix(o.Key, "/"))
	}
	if len(all) == 0 && path != "/" {
		return nil, storagedriver.PathNotFoundError{Path: path, DriverName: driverName}
	}
	return all, nil
}

// Move implements storagedriver.StorageDriver.
func (d driver) Move(ctx context.Context, from, to string) error {
	if err := d.bucket.Copy(ctx, key(to), key(from), nil); err != nil {
		return found(err, from)
	}
	return d.bucket.Delete(ctx, key(from))
}

// Delete implements storagedriver.StorageDriver.
func (d driver) Delete(ctx context.Context, path string) error {
	is, err := d.bucket.Exists(ctx, key(path)) // in the file system a folder could be deleted, too
	if err != nil {
		return err
	}
	if is {
		return found(d.bucket.Delete(ctx, key(path)), path)
	}
	deleted := false
	list := d.bucket.List(&blob.ListOptions{Prefix: below(path)})
	for {
		o, err := list.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := d.bucket.Delete(ctx, o.Key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return err
		}
		deleted = true
	}
	if !deleted {
		return storagedriver.PathNotFoundError{Path: path, DriverName: driverName}
	}
	return nil
}

// RedirectURL implements storagedriver.StorageDriver: all goes through this
// process, since hosts have no way to the bucket.
func (d driver) RedirectURL(*http.Request, string) (string, error) { return "", nil }

// Walk implements storagedriver.StorageDriver.
func (d driver) Walk(ctx context.Context, path string, f storagedriver.WalkFn, options ...func(*storagedriver.WalkOptions)) error {
	return storagedriver.WalkFallback(ctx, d, path, f, options...)
}
