package images

import (
	"context"
	"fmt"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

const contentType = "application/octet-stream" // nobody needs to guess it

// writer writes an object. A bucket cannot append to one: what is there already
// is copied in front, which only uploads in several pieces cost.
type writer struct {
	ctx    context.Context // of the request, for Write and Close have none
	bucket *blob.Bucket
	key    string
	before int64 // bytes that are there already

	object  *blob.Writer // from the first byte on
	discard context.CancelFunc
	written int64
	closed  bool
}

func (w *writer) open() error {
	if w.object != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(w.ctx)
	object, err := w.bucket.NewWriter(ctx, w.key, &blob.WriterOptions{ContentType: contentType})
	if err != nil {
		cancel()
		return err
	}
	w.object, w.discard = object, cancel
	if w.before == 0 {
		return nil
	}
	r, err := w.bucket.NewReader(ctx, w.key, nil)
	if err != nil {
		return fmt.Errorf("read what is to be appended to: %w", err)
	}
	defer r.Close()
	_, err = r.WriteTo(object)
	return err
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if w.closed {
		return 0, fmt.Errorf("%s is closed", w.key)
	}
	if err := w.open(); err != nil {
		return 0, err
	}
	n, err := w.object.Write(p)
	w.written += int64(n)
	return n, err
}

// Size implements storagedriver.FileWriter.
func (w *writer) Size() int64 { return w.before + w.written }

// Close implements io.Closer. Another writer may go on.
func (w *writer) Close() error {
	if w.closed || w.object == nil {
		w.closed = true
		return nil
	}
	w.closed = true
	defer w.discard()
	return w.object.Close()
}

// Commit implements storagedriver.FileWriter.
func (w *writer) Commit(context.Context) error {
	if w.Size() == 0 && !w.closed { // an empty object is one, too
		if err := w.open(); err != nil {
			return err
		}
	}
	return w.Close()
}

// Cancel implements storagedriver.FileWriter.
func (w *writer) Cancel(ctx context.Context) error {
	if w.object != nil && !w.closed {
		w.discard()
		w.object.Close() //nolint:errcheck // it says that it was discarded
	}
	w.closed = true
	if err := w.bucket.Delete(ctx, w.key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return err
	}
	return nil
}
