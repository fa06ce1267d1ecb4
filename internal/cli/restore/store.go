package restore

import (
	"context"
	"fmt"
	"time"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/archive"
	storepb "github.com/micro/platform/proto/store"
)

// Bounds of what is sent at once.
const (
	batchRecords = 500
	batchBytes   = 4 << 20
)

// tableWriter writes the records of a table.
type tableWriter struct {
	i    *Import
	part archive.Part

	seen  int64 // records of the part up to here
	batch []*storepb.Change
	bytes int64
}

func (w *tableWriter) file(ctx context.Context, f archive.File, skip int64) error {
	return archive.Lines(f, func(r archive.Record) error {
		if w.seen++; w.seen <= skip {
			return nil
		}
		life := int64(0)
		if r.Expires != nil {
			if life = time.Until(*r.Expires).Milliseconds(); life <= 0 {
				return nil
			}
		}
		n := recordSize(r)
		if len(w.batch) == batchRecords || w.bytes+n > batchBytes && len(w.batch) > 0 {
			if err := w.flush(ctx); err != nil {
				return err
			}
			if err := w.i.advance(ctx, w.part, w.seen-1, false); err != nil {
				return err
			}
		}
		m := &storepb.Record{Key: r.Key, Value: r.Value.Bytes(), ExpiryMs: life, Metadata: map[string]*storepb.Field{}}
		for k, v := range r.Metadata {
			m.Metadata[k] = &storepb.Field{Type: "string", Value: v}
		}
		w.batch = append(w.batch, &storepb.Change{Record: m, IfAbsent: !w.i.o.Overwrite})
		w.bytes += n
		return nil
	})
}

func (w *tableWriter) end(ctx context.Context) error { return w.flush(ctx) }

// flush writes a batch. A record that is there was written before the import was
// cut off, or by somebody else since then: it stays.
func (w *tableWriter) flush(ctx context.Context) error {
	if len(w.batch) == 0 {
		return nil
	}
	var rsp *storepb.BatchResponse
	err := w.i.retry(ctx, func() (err error) {
		rsp, err = storepb.NewStoreClient(w.i.conn).Batch(ctx, &storepb.BatchRequest{Database: w.i.o.Namespace, Table: w.part.Of, Changes: w.batch})
		return err
	})
	if err != nil {
		return err
	}
	for n, r := range rsp.GetResults() {
		if r.GetCode() != 200 && (r.GetCode() != 409 || w.i.o.Overwrite) {
			key := w.batch[n].GetRecord().GetKey()
			return errors.NewHTTP(int(r.GetCode()), "key %q: %s (the same import goes on from here once that is mended)", errors.Clip(key), r.GetDetail())
		}
	}
	w.batch, w.bytes = w.batch[:0], 0
	return nil
}

// blobWriter writes blobs. One that is small is held, and tried again; the bytes
// of a larger one go as they are read.
type blobWriter struct {
	i    *Import
	part archive.Part

	seen   int64
	header *archive.Blob
	held   []byte
	stream storepb.BlobStore_WriteClient
}

func (w *blobWriter) file(ctx context.Context, f archive.File, skip int64) error {
	if f.Ext == ".json" {
		if err := w.finish(ctx); err != nil {
			return err
		}
		return archive.Lines(f, func(b archive.Blob) error {
			if w.seen++; w.seen > skip {
				w.header, w.held = &b, nil
			}
			return nil
		})
	}
	switch {
	case w.header == nil:
		return nil
	case w.held == nil:
		w.held = append([]byte{}, f.Content...)
		return nil
	case w.stream == nil:
		if err := w.open(ctx); err != nil {
			return err
		}
	}
	return w.send(f.Content)
}

// blobChunk is how much of a blob one message carries.
const blobChunk = 64 << 10

// open begins to write the blob, with what is held of it.
func (w *blobWriter) open(ctx context.Context) error {
	var err error
	if w.stream, err = storepb.NewBlobStoreClient(w.i.conn).Write(ctx); err != nil {
		return err
	}
	o := &storepb.BlobOptions{Namespace: w.i.o.Namespace, ContentType: w.header.ContentType, Public: w.header.Public}
	if err := w.stream.Send(&storepb.BlobWriteRequest{Key: w.header.Key, Options: o}); err != nil {
		return w.failure(err)
	}
	return w.send(w.held)
}

func (w *blobWriter) send(b []byte) error {
	for len(b) > 0 {
		n := min(blobChunk, len(b))
		if err := w.stream.Send(&storepb.BlobWriteRequest{Blob: b[:n]}); err != nil {
			return w.failure(err)
		}
		b = b[n:]
	}
	return nil
}

// failure is why a stream takes no more.
func (w *blobWriter) failure(err error) error {
	if _, cause := w.stream.CloseAndRecv(); cause != nil {
		err = cause
	}
	return err
}

// finish ends the blob that is being written.
func (w *blobWriter) finish(ctx context.Context) error {
	if w.header == nil {
		return nil
	}
	var err error
	if w.stream != nil {
		_, err = w.stream.CloseAndRecv()
	} else {
		err = w.i.retry(ctx, func() error {
			if err := w.open(ctx); err != nil {
				return err
			}
			_, err := w.stream.CloseAndRecv()
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", errors.Clip(w.header.Key), err)
	}
	w.header, w.held, w.stream = nil, nil, nil
	return w.i.advance(ctx, w.part, w.seen, false)
}

func (w *blobWriter) end(ctx context.Context) error { return w.finish(ctx) }
