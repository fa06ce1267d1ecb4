package store

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"gocloud.dev/blob"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	storepb "github.com/micro/platform/proto/store"
)

// upload is what a client sends, in chunks.
type upload struct {
	grpc.ServerStream
	ctx    context.Context
	chunks []*storepb.BlobWriteRequest
	err    error // what comes after them; io.EOF when it is nil
}

func (u *upload) Context() context.Context { return u.ctx }

func (u *upload) SendAndClose(*storepb.BlobWriteResponse) error { return nil }

func (u *upload) Recv() (*storepb.BlobWriteRequest, error) {
	if len(u.chunks) == 0 {
		if u.err != nil {
			return nil, u.err
		}
		return nil, io.EOF
	}
	m := u.chunks[0]
	u.chunks = u.chunks[1:]
	return m, nil
}

// chunks cuts a blob as existing clients do, a kilobyte a message.
func chunks(key string, o *storepb.BlobOptions, text string) []*storepb.BlobWriteRequest {
	var all []*storepb.BlobWriteRequest
	for {
		n := min(len(text), 1024)
		all = append(all, &storepb.BlobWriteRequest{Key: key, Options: o, Blob: []byte(text[:n])})
		if text = text[n:]; text == "" {
			return all
		}
	}
}

func writeBlob(s *Service, ctx context.Context, key string, o *storepb.BlobOptions, text string) error {
	return s.Blobs().Write(&upload{ctx: ctx, chunks: chunks(key, o, text)})
}

func readBlob(s *Service, ctx context.Context, key string) (string, error) {
	st := &stream[storepb.BlobReadResponse]{ctx: ctx}
	err := s.Blobs().Read(&storepb.BlobReadRequest{Key: key}, &copying{st})
	var b strings.Builder
	for _, m := range st.sent {
		b.Write(m.GetBlob())
	}
	return b.String(), err
}

// copying keeps what is sent, as a connection does: the sender uses its memory
// again.
type copying struct {
	*stream[storepb.BlobReadResponse]
}

func (c *copying) Send(m *storepb.BlobReadResponse) error {
	return c.stream.Send(&storepb.BlobReadResponse{Blob: append([]byte(nil), m.GetBlob()...)})
}

// objects counts what a namespace has in the bucket.
func objects(t *testing.T, s *Service, ns string) int {
	t.Helper()
	n := 0
	for it := s.bucket.List(&blob.ListOptions{Prefix: "store/" + escape(ns) + "/"}); ; n++ {
		_, err := it.Next(t.Context())
		if err == io.EOF {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	long := strings.Repeat("0123456789", 20_000)
	for key, text := range map[string]string{"a": "", "a/b": "below a key that is one itself", "../x": "path", "long": "replaced"} {
		if err := writeBlob(s, ctx, key, nil, text); err != nil {
			t.Fatal(err)
		}
		if got, err := readBlob(s, ctx, key); err != nil || got != text {
			t.Errorf("blob %q = %q, %v", key, got, err)
		}
	}
	if err := writeBlob(s, ctx, "long", &storepb.BlobOptions{ContentType: "text/plain", Public: true}, long); err != nil {
		t.Fatal(err)
	}
	if got, err := readBlob(s, ctx, "long"); err != nil || got != long {
		t.Errorf("blob of %d bytes, %v, want %d", len(got), err, len(long))
	}
	rsp, err := s.Blobs().List(ctx, &storepb.BlobListRequest{})
	if err != nil || strings.Join(rsp.GetKeys(), " ") != "../x a a/b long" {
		t.Fatalf("List = %v, %v", rsp.GetKeys(), err)
	}
	if b := rsp.GetBlobs()[3]; b.GetBytes() != int64(len(long)) || b.GetContentType() != "text/plain" || !b.GetPublic() {
		t.Errorf("the long blob is %v", b)
	}
	if rsp, err := s.Blobs().List(ctx, &storepb.BlobListRequest{Options: &storepb.BlobListOptions{Prefix: "a/"}}); err != nil || len(rsp.GetKeys()) != 1 {
		t.Errorf("List with a prefix = %v, %v", rsp, err)
	}
	if n := objects(t, s, ns); n != 4 {
		t.Errorf("%d objects for 4 blobs", n)
	}
	for range 2 {
		if _, err := s.Blobs().Delete(ctx, &storepb.BlobDeleteRequest{Key: "long"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := readBlob(s, ctx, "long"); errors.Code(err) != codes.NotFound || err.Error() != "Blob not found" {
		t.Errorf("a deleted blob = %v", err)
	}
	if n := objects(t, s, ns); n != 3 {
		t.Errorf("%d objects for 3 blobs", n)
	}
	if noted, err := s.db.noted(ctx, blobIndex(ns), -time.Hour); err != nil || len(noted) != 0 {
		t.Errorf("noted is still %v, %v", noted, err)
	}
	if got := list(t, s, ctx, nil); len(got) != 0 {
		t.Errorf("blobs are records: %q", got)
	}
}

func TestBadBlobs(t *testing.T) {
	t.Parallel()
	s, ns := setup(t, func(o *Options) { o.MaxBlob, o.MaxBlobs, o.MaxBlobBytes = 3000, 2, 5000 })
	ctx := as(t, ns)
	if err := writeBlob(s, ctx, "first", nil, strings.Repeat("x", 3000)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		upload *upload
		want   codes.Code
		detail string
	}{
		{"nothing", &upload{}, codes.InvalidArgument, "No blob was sent"},
		{"no key", &upload{chunks: chunks("", nil, "x")}, codes.InvalidArgument, "Missing key"},
		{"bad key", &upload{chunks: chunks("a\x00", nil, "x")}, codes.InvalidArgument, "zero bytes"},
		{"bad type", &upload{chunks: chunks("a", &storepb.BlobOptions{ContentType: "a\r\nb"}, "x")}, codes.InvalidArgument, "contentType"},
		{"too large", &upload{chunks: chunks("a", nil, strings.Repeat("x", 3001))}, codes.ResourceExhausted, "at most 3000 bytes"},
		{"too much", &upload{chunks: chunks("a", nil, strings.Repeat("x", 2000))}, codes.ResourceExhausted, "may have 5000 bytes"},
		{"broken off", &upload{chunks: chunks("first", nil, "x"), err: context.Canceled}, codes.Canceled, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.upload.ctx = ctx
			err := s.Blobs().Write(tt.upload)
			if errors.Code(err) != tt.want && !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), tt.detail) {
				t.Errorf("Write = %v, want %v with %q", err, tt.want, tt.detail)
			}
		})
	}
	if got, err := readBlob(s, ctx, "first"); err != nil || len(got) != 3000 {
		t.Errorf("the first blob has %d bytes, %v", len(got), err)
	}
	if n := objects(t, s, ns); n != 1 {
		t.Errorf("%d objects are left, want 1", n)
	}
}

// TestOrphans sweeps what a crash between the bucket and the index leaves.
func TestOrphans(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	if err := writeBlob(s, ctx, "kept", nil, "kept"); err != nil {
		t.Fatal(err)
	}
	u := blobIndex(ns)
	e, _, err := s.Blobs().entry(ctx, u, "kept")
	if err != nil {
		t.Fatal(err)
	}
	orphan := "store/" + ns + "/orphan"
	if err := s.bucket.WriteAll(ctx, orphan, []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	for _, g := range []garbage{{e.Object, "kept"}, {orphan, "kept"}} {
		if err := s.db.note(ctx, u, g); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.sweepObjects(ctx, ns); err != nil || objects(t, s, ns) != 2 {
		t.Errorf("what was noted just now was swept, %v", err)
	}
	// An hour later there is another one, that a crash has left half written.
	if err := s.bucket.WriteAll(ctx, orphan+".18f2.tmp", []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	for _, g := range []garbage{{e.Object, "kept"}, {orphan, "kept"}} {
		long := time.Now().Add(-2 * garbageAge).Unix()
		if err := s.db.redis.ZAdd(ctx, garbageKey(ns), redis.Z{Score: float64(long), Member: g.String()}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.sweepObjects(ctx, ns); err != nil {
		t.Fatal(err)
	}
	if got, err := readBlob(s, ctx, "kept"); err != nil || got != "kept" || objects(t, s, ns) != 1 {
		t.Errorf("after the sweep the blob is %q, %v", got, err)
	}
}
