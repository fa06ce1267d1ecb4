package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/bucket"
	"github.com/micro/platform/internal/identity"
	storepb "github.com/micro/platform/proto/store"
)

// Blobs implements the BlobStore RPCs.
type Blobs struct {
	storepb.UnsafeBlobStoreServer

	*Service
}

// Blobs answers the service's other API, whose methods bear the same names.
func (s *Service) Blobs() *Blobs { return &Blobs{Service: s} }

// entry is what the index knows of a blob.
type entry struct {
	Object      string `json:"object"` // its name in the bucket
	Bytes       int64  `json:"bytes"`
	ContentType string `json:"content_type,omitempty"`
	Public      bool   `json:"public,omitempty"`
	Written     int64  `json:"written"` // Unix seconds
}

// chunk is how much of a blob one message carries.
const chunk = 64 << 10

// maxContentType bounds the name of a content type.
const maxContentType = 256

// attempts is how often a blob is tried again that somebody else is changing.
const attempts = 10

// index answers the unit that knows the blobs which a request means.
func (s *Blobs) index(ctx context.Context, namespace string) (unit, error) {
	ns, err := identity.Admin(ctx, namespace)
	if err != nil {
		return unit{}, err
	}
	return blobIndex(ns), checkName("namespace", ns)
}

func checkBlobKey(key string) error {
	if key == "" {
		return invalid("Missing key")
	}
	return checkKey(key)
}

// entry looks a blob up. The version is 0 when there is none.
func (s *Blobs) entry(ctx context.Context, u unit, key string) (entry, int64, error) {
	record, _, found, err := s.db.read(ctx, u, key)
	if err != nil || !found {
		return entry{}, 0, err
	}
	return decodeEntry(record)
}

func decodeEntry(record string) (entry, int64, error) {
	var e entry
	r, err := decode(record)
	if err != nil {
		return e, 0, err
	}
	if err := json.Unmarshal(r.value, &e); err != nil {
		return e, 0, fmt.Errorf("decode the index of blobs: %w", err)
	}
	return e, r.version, nil
}

// Read implements BlobStore.
func (s *Blobs) Read(req *storepb.BlobReadRequest, stream storepb.BlobStore_ReadServer) error {
	ctx := stream.Context()
	u, err := s.index(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return err
	}
	if err := checkBlobKey(req.GetKey()); err != nil {
		return err
	}
	r, err := s.open(ctx, u, req.GetKey())
	if err != nil {
		return err
	}
	defer r.Close()
	return bucket.Pieces(r, chunk, func(piece []byte) error {
		return stream.Send(&storepb.BlobReadResponse{Blob: piece})
	})
}

// open opens a blob. One that is replaced just then is looked up again.
func (s *Blobs) open(ctx context.Context, u unit, key string) (*blob.Reader, error) {
	var err error
	for range attempts {
		e, version, lookup := s.entry(ctx, u, key)
		if lookup != nil {
			return nil, lookup
		}
		if version == 0 {
			return nil, errors.New(codes.NotFound, "Blob not found")
		}
		var r *blob.Reader
		if r, err = s.bucket.NewReader(ctx, e.Object, nil); gcerrors.Code(err) != gcerrors.NotFound {
			return r, err
		}
	}
	return nil, fmt.Errorf("open blob: %w", err)
}

// Write implements BlobStore.
func (s *Blobs) Write(stream storepb.BlobStore_WriteServer) error {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err == io.EOF {
		return invalid("No blob was sent")
	}
	if err != nil {
		return err
	}
	u, err := s.index(ctx, first.GetOptions().GetNamespace())
	if err != nil {
		return err
	}
	if err := checkBlobKey(first.GetKey()); err != nil {
		return err
	}
	if t := first.GetOptions().GetContentType(); len(t) > maxContentType || !printable(t) {
		return invalid("contentType %q: at most %d bytes of UTF-8 without control characters", errors.Clip(t), maxContentType)
	}
	e := entry{
		Object:      objectPath + escape(u.namespace) + "/" + rand.Text(),
		ContentType: first.GetOptions().GetContentType(),
		Public:      first.GetOptions().GetPublic(),
		Written:     time.Now().Unix(),
	}
	if err := s.db.note(ctx, u, garbage{e.Object, first.GetKey()}); err != nil {
		return err
	}
	if e.Bytes, err = s.receive(ctx, e.Object, first, stream); err == nil {
		err = s.commit(ctx, u, first.GetKey(), e)
	}
	// Whether an index that cannot be reached took the blob, the sweeper sees
	// later.
	if errors.Code(err) != codes.Unavailable {
		s.discard(ctx, u, first.GetKey(), e.Object)
	}
	if err != nil {
		return err
	}
	return stream.SendAndClose(&storepb.BlobWriteResponse{})
}

// receive writes what a stream sends into the bucket.
func (s *Blobs) receive(ctx context.Context, object string, first *storepb.BlobWriteRequest, stream storepb.BlobStore_WriteServer) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, garbageAge/2)
	defer cancel() // a writer whose context has ended writes nothing at Close
	w, err := s.newObject(ctx, object)
	if err != nil {
		return 0, err
	}
	var bytes int64
	for m := first; ; {
		if bytes += int64(len(m.GetBlob())); bytes > s.opts.MaxBlob {
			err = errors.NewHTTP(413, "limit blob: blob %q: at most %d bytes", errors.Clip(first.GetKey()), s.opts.MaxBlob)
			break
		}
		if _, err = w.Write(m.GetBlob()); err != nil {
			err = fmt.Errorf("write blob: %w", err)
			break
		}
		if m, err = stream.Recv(); err != nil {
			break
		}
	}
	if err != io.EOF {
		cancel()
		w.Close() //nolint:errcheck // it says that the context has ended
		return 0, err
	}
	if err := w.Close(); err != nil {
		return 0, fmt.Errorf("write blob: %w", err)
	}
	return bytes, nil
}

// commit makes a key mean another object, and deletes the one that it meant.
// That one is noted first, so that a crash leaves nothing behind for ever.
func (s *Blobs) commit(ctx context.Context, u unit, key string, e entry) error {
	value, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode the index of blobs: %w", err)
	}
	return s.replace(ctx, u, key, change{key: key, besides: e.Bytes, body: value})
}

// replace changes the index at key, and deletes the object that it meant.
func (s *Blobs) replace(ctx context.Context, u unit, key string, c change) error {
	l, err := s.limits(ctx, u.namespace)
	if err != nil {
		return err
	}
	for range attempts {
		old, version, err := s.entry(ctx, u, key)
		if err != nil {
			return err
		}
		c.condition = "absent"
		if version != 0 {
			c.condition = strconv.FormatInt(version, 10)
			if err := s.db.note(ctx, u, garbage{old.Object, key}); err != nil {
				return err
			}
		} else if c.delete {
			return nil
		}
		out, err := s.apply(ctx, u, l, []change{c})
		if err != nil {
			return err
		}
		if out[0].result == "condition" {
			continue
		}
		if err := l.failure(u, c, out[0]); err != nil {
			return err
		}
		if version != 0 {
			s.discard(ctx, u, key, old.Object)
		}
		return nil
	}
	return errors.New(codes.Aborted, "blob %q is being changed by others, try again", errors.Clip(key))
}

// Delete implements BlobStore.
func (s *Blobs) Delete(ctx context.Context, req *storepb.BlobDeleteRequest) (*storepb.BlobDeleteResponse, error) {
	u, err := s.index(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := checkBlobKey(req.GetKey()); err != nil {
		return nil, err
	}
	if err := s.replace(ctx, u, req.GetKey(), change{key: req.GetKey(), delete: true}); err != nil {
		return nil, err
	}
	return &storepb.BlobDeleteResponse{}, nil
}

// List implements BlobStore.
func (s *Blobs) List(ctx context.Context, req *storepb.BlobListRequest) (*storepb.BlobListResponse, error) {
	u, err := s.index(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	rsp, bytes := &storepb.BlobListResponse{}, 0
	err = s.walk(ctx, u, listing{prefix: req.GetOptions().GetPrefix(), records: true}, func(rows []row) error {
		for _, x := range rows {
			e, _, err := decodeEntry(x.record)
			if err != nil {
				return err
			}
			if bytes += 2*len(x.key) + len(e.ContentType) + 32; bytes > maxAnswer {
				return errors.New(codes.ResourceExhausted, "these are too many blobs for one answer: list them by longer prefixes")
			}
			rsp.Keys = append(rsp.Keys, x.key)
			rsp.Blobs = append(rsp.Blobs, &storepb.Blob{Key: x.key, Bytes: e.Bytes, ContentType: e.ContentType, Public: e.Public, Written: e.Written})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rsp, nil
}

// garbage is an object that a key does not mean yet, or no longer.
type garbage struct {
	object, key string
}

func (g garbage) String() string { return g.object + "\x00" + g.key }

func parseGarbage(s string) garbage {
	object, key, _ := strings.Cut(s, "\x00")
	return garbage{object, key}
}

// garbageAge is when an object is looked at that was noted: to write a blob may
// take half of it.
const garbageAge = time.Hour

// discard deletes an object unless its key means it, also when the caller has
// left. Should that fail, the sweeper does it.
func (s *Service) discard(ctx context.Context, u unit, key, object string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := s.collect(ctx, u, garbage{object, key}); err != nil {
		s.log.WarnContext(ctx, "an object was not deleted, the sweeper tries again", "object", object, "error", err)
	}
}

// collect deletes an object unless its key means it.
func (s *Service) collect(ctx context.Context, u unit, g garbage) error {
	e, _, err := s.Blobs().entry(ctx, u, g.key)
	if err != nil {
		return err
	}
	if e.Object != g.object {
		if err := s.deleteObject(ctx, g.object); err != nil {
			return err
		}
	}
	return s.db.unnote(ctx, u, g)
}

// sweepObjects deletes objects that were noted long ago and that no key means.
func (s *Service) sweepObjects(ctx context.Context, namespace string) error {
	u := blobIndex(namespace)
	noted, err := s.db.noted(ctx, u, garbageAge)
	if err != nil {
		return err
	}
	for _, g := range noted {
		if err := s.deleteRests(ctx, g.object); err != nil {
			return err
		}
		if err := s.collect(ctx, u, g); err != nil {
			return err
		}
	}
	return nil
}
