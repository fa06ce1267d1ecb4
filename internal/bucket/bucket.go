package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Folder is a folder of a bucket, with all that is below it.
type Folder struct {
	Bucket *blob.Bucket
	// Dir is where a bucket in the file system is, which has folders that stay
	// when they are empty; "" for others.
	Dir string
	// Name ends in a slash.
	Name string
}

// Erase deletes up to limit objects and says whether there are no more.
func (f Folder) Erase(ctx context.Context, limit int) (done bool, err error) {
	all := f.Bucket.List(&blob.ListOptions{Prefix: f.Name})
	for range limit {
		found, err := all.Next(ctx)
		if err == io.EOF {
			return true, f.Tidy()
		}
		if err != nil {
			return false, fmt.Errorf("list objects: %w", err)
		}
		if err := f.Bucket.Delete(ctx, found.Key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return false, fmt.Errorf("delete object: %w", err)
		}
	}
	return false, nil
}

// Tidy removes the folders that are empty. One that somebody has put
// something into meanwhile stays.
func (f Folder) Tidy() error {
	if f.Dir == "" {
		return nil
	}
	var folders []string
	err := filepath.WalkDir(filepath.Join(f.Dir, filepath.FromSlash(f.Name)), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for folders: %w", err)
	}
	for _, path := range slices.Backward(folders) { // the inner ones first
		os.Remove(path) //nolint:errcheck // it is not empty
	}
	return nil
}
