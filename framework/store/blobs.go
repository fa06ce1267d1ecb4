package store

import (
	"io"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/internal/current"
	storepb "github.com/micro/platform/proto/store"
)

// Blobs keeps large values, up to 100 MiB. They are streamed both ways, and a
// reader sees one whole.
type Blobs struct{ client client.Client }

// NewBlobs makes the Blobs of the namespace that a client works for.
func NewBlobs(c client.Client) *Blobs { return &Blobs{c} }

// DefaultBlobs answers those of the program's service.
func DefaultBlobs() (*Blobs, error) {
	c, err := current.Client()
	if err != nil {
		return nil, err
	}
	return NewBlobs(c), nil
}

// BlobOptions say where a blob is, and what.
type BlobOptions struct {
	// Namespace is for those who may use another than their own.
	Namespace string
	// ContentType and Public are kept with the blob.
	ContentType string
	Public      bool
}

func (o BlobOptions) proto() *storepb.BlobOptions {
	return &storepb.BlobOptions{Namespace: o.Namespace, ContentType: o.ContentType, Public: o.Public}
}

// chunk is how much of a blob one message carries.
const chunk = 64 << 10

// Read opens a blob, ErrNotFound when there is none. The caller closes it.
func (b *Blobs) Read(key string, o BlobOptions, opts ...Option) (io.ReadCloser, error) {
	call := (&Store{}).options(opts)
	req := b.client.NewRequest(service, "BlobStore.Read", &storepb.BlobReadRequest{Key: key, Options: o.proto()})
	stream, err := b.client.Stream(call.ctx, req, client.WithAuthToken())
	if err != nil {
		return nil, err
	}
	r := &blobReader{stream: stream}
	err = stream.CloseSend()
	if err == nil {
		err = r.next() // the first message says whether there is one
	}
	if err != nil && err != io.EOF {
		stream.Close()
		return nil, err
	}
	return r, nil
}

type blobReader struct {
	stream client.Stream
	rest   []byte
	err    error
}

func (r *blobReader) next() error {
	rsp := &storepb.BlobReadResponse{}
	r.err = r.stream.RecvMsg(rsp)
	if errors.Code(r.err) == codes.NotFound {
		r.err = ErrNotFound
	}
	r.rest = rsp.GetBlob()
	return r.err
}

func (r *blobReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *blobReader) Close() error { return r.stream.Close() }

// Write writes a blob, or replaces it when all of it has come. An error of the
// reader leaves what was there.
func (b *Blobs) Write(key string, blob io.Reader, o BlobOptions, opts ...Option) error {
	call := (&Store{}).options(opts)
	stream, err := b.client.Stream(call.ctx, b.client.NewRequest(service, "BlobStore.Write", nil), client.WithAuthToken())
	if err != nil {
		return err
	}
	defer stream.Close() // before its end it breaks the write off
	buf := make([]byte, chunk)
	for first := true; ; first = false {
		n, err := io.ReadFull(blob, buf)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if n > 0 || first { // an empty blob is one too
			if sent := stream.SendMsg(&storepb.BlobWriteRequest{Key: key, Options: o.proto(), Blob: buf[:n]}); sent == io.EOF {
				break // the answer says why
			} else if sent != nil {
				return sent
			}
		}
		if err != nil {
			break
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(&storepb.BlobWriteResponse{})
}

// Delete deletes a blob. One that is missing is no error.
func (b *Blobs) Delete(key string, o BlobOptions, opts ...Option) error {
	s := &Store{client: b.client}
	return s.call(s.options(opts), "BlobStore.Delete", &storepb.BlobDeleteRequest{Key: key, Options: o.proto()}, &storepb.BlobDeleteResponse{})
}

// List answers the keys that begin with prefix, sorted.
func (b *Blobs) List(prefix string, o BlobOptions, opts ...Option) ([]string, error) {
	s := &Store{client: b.client}
	rsp := &storepb.BlobListResponse{}
	err := s.call(s.options(opts), "BlobStore.List", &storepb.BlobListRequest{
		Options: &storepb.BlobListOptions{Namespace: o.Namespace, Prefix: prefix},
	}, rsp)
	return rsp.GetKeys(), err
}
