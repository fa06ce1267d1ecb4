package runtime

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// blobs answers the keys in the bucket.
func (b *bench) blobs() []string {
	b.t.Helper()
	var keys []string
	list := b.bucket.List(nil)
	for {
		o, err := list.Next(b.t.Context())
		if err != nil {
			return keys // the end
		}
		keys = append(keys, o.Key)
	}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, err := b.upload(b.admin, "hello", "first ", "source")
	if err != nil || id != "source://hello:latest" {
		t.Fatalf("Upload = %q, %v", id, err)
	}
	if _, err := b.upload(b.admin, "hello", "second"); err != nil {
		t.Fatal(err)
	}
	b.create("hello", id)
	r, err := b.svc.db.revision(t.Context(), key{"acme", "hello", "latest"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.bucket.ReadAll(t.Context(), r.Upload); err != nil || string(got) != "second" {
		t.Fatalf("the revision's source is %q, %v", got, err)
	}
	_, err = b.svc.Create(as(t.Context(), "mallory", "globex", "admin"), createRequest("hello", id))
	if errors.Code(err) != codes.InvalidArgument {
		t.Fatalf("another namespace deploys acme's upload: %v", err)
	}
}

func TestUploadRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	big := strings.Repeat("x", 600<<10)
	for _, tt := range []struct {
		name   string
		upload func() error
		want   string
	}{
		{"anonymous", func() error { _, err := b.upload(t.Context(), "hello", "x"); return err }, "An account is required to upload source"},
		{"no service", func() error {
			return sources{svc: b.svc}.Upload(&uploadStream{ctx: b.admin, in: []*runtimepb.UploadRequest{{Data: []byte("x")}}})
		}, "No service was sent"},
		{"nothing", func() error { return sources{svc: b.svc}.Upload(&uploadStream{ctx: b.admin}) }, "No service was sent"},
		{"empty", func() error { _, err := b.upload(b.admin, "hello", ""); return err }, "the source is empty"},
		{"too large", func() error { _, err := b.upload(b.admin, "hello", big, big, big); return err }, "the source is larger than 1 MiB, which is the limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.upload()
			if err == nil || errors.FromError(err).Detail != tt.want {
				t.Fatalf("Upload = %v, want %s", err, tt.want)
			}
		})
	}
	if got := b.blobs(); len(got) != 0 {
		t.Fatalf("refused uploads left %v", got)
	}
}

func TestUploadsOfANamespaceAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 5 {
		if _, err := b.upload(b.admin, "hello", "x"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.upload(b.admin, "hello", "x"); errors.Code(err) != codes.ResourceExhausted {
		t.Fatalf("the sixth of five uploads: %v", err)
	}
}

func TestUnusedUploadsAreRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, name := range []string{"hello", "hello", "never-created"} {
		if _, err := b.upload(b.admin, name, "x"); err != nil {
			t.Fatal(err)
		}
	}
	b.create("hello", "source://hello:latest")
	if err := b.svc.sweepUploads(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(b.blobs()); got != 3 {
		t.Fatalf("%d blobs are left of 3 young ones", got)
	}
	b.svc.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if err := b.svc.sweepUploads(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.blobs(); len(got) != 1 || !strings.HasPrefix(got[0], "sources/acme/hello/") {
		t.Fatalf("left are %v, the newest upload of hello expected", got)
	}
}

func TestDeleteRemovesUploads(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.upload(b.admin, "hello", "x"); err != nil {
		t.Fatal(err)
	}
	b.create("hello", "source://hello:latest")
	b.reconcile()
	b.settled("hello", running)
	b.delete("hello")
	b.await("hello is gone", func() bool { return b.service("hello") == nil })
	if got := b.blobs(); len(got) != 0 {
		t.Fatalf("left are %v", got)
	}
}

// silentStream is a caller who stops sending.
type silentStream struct {
	uploadStream
	first chan *runtimepb.UploadRequest
}

func (s *silentStream) Recv() (*runtimepb.UploadRequest, error) {
	select {
	case m := <-s.first:
		return m, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func TestSilentUploadEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.svc.opts.UploadTimeout = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(b.admin)
	defer cancel() // as gRPC does when the handler has returned
	s := &silentStream{uploadStream: uploadStream{ctx: ctx}, first: make(chan *runtimepb.UploadRequest, 1)}
	s.first <- &runtimepb.UploadRequest{Service: &runtimepb.Service{Name: "hello"}, Data: []byte("x")}
	if err := (sources{svc: b.svc}).Upload(s); errors.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("Upload = %v", err)
	}
	if got := b.blobs(); len(got) != 0 {
		t.Fatalf("left are %v", got)
	}
}
