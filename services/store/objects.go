package store

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// objectPath is where a namespace's objects are in the bucket: two folders deep.
const (
	objectPath    = "store/"
	objectFolders = 2
)

// object is a blob that is being written into the bucket.
type object struct {
	*blob.Writer

	file *os.File // of a bucket in the file system; nil in others
}

func (s *Service) newObject(ctx context.Context, name string) (*object, error) {
	o := &object{}
	w, err := s.bucket.NewWriter(ctx, name, &blob.WriterOptions{
		ContentType: "application/octet-stream", DisableContentTypeDetection: true,
		BeforeWrite: o.hold,
	})
	if err != nil {
		return nil, fmt.Errorf("write blob: %w", err)
	}
	o.Writer = w
	return o, nil
}

// hold keeps the file of the object, which has another name when it is whole.
func (o *object) hold(as func(any) bool) error {
	var f *os.File
	if !as(&f) {
		return nil // other buckets keep what they have acknowledged
	}
	var err error
	o.file, err = os.Open(f.Name())
	return err
}

// Close makes the object whole, and on disk: its bytes, and its name in folders
// that may be new.
func (o *object) Close() error {
	err := o.Writer.Close()
	if o.file == nil {
		return err
	}
	defer o.file.Close()
	if err != nil {
		return err
	}
	if err := o.file.Sync(); err != nil {
		return err
	}
	folder := filepath.Dir(o.file.Name())
	for range objectFolders + 1 {
		if err := syncFolder(folder); err != nil {
			return err
		}
		folder = filepath.Dir(folder)
	}
	return nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// deleteRests deletes what a crash has left of an object in the making: files of
// its name with more behind it.
func (s *Service) deleteRests(ctx context.Context, name string) error {
	all := s.bucket.List(&blob.ListOptions{Prefix: name + "."})
	for {
		found, err := all.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for rests of an object: %w", err)
		}
		if err := s.deleteObject(ctx, found.Key); err != nil {
			return err
		}
	}
}

// deleteObject deletes an object, if there is one.
func (s *Service) deleteObject(ctx context.Context, name string) error {
	if err := s.bucket.Delete(ctx, name); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete object: %w", err)
	}
	return nil
}
