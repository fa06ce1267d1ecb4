package app

import (
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// TestBucketOfS3 keeps objects on a server that speaks S3, by a URL that names
// one on the premises.
func TestBucketOfS3(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "somebody")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	store := s3mem.New()
	if err := store.CreateBucket("micro"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(store).Server())
	t.Cleanup(server.Close)
	b, err := OpenBucket(t.Context(), "s3://micro?endpoint="+server.URL+"&use_path_style=true&region=local")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	large := bytes.Repeat([]byte("micro "), 2<<20) // more than one part
	if err := write(t.Context(), b, "uploads/acme/large", large); err != nil {
		t.Fatal(err)
	}
	if err := b.WriteAll(t.Context(), "uploads/acme/small", []byte("x"), &blob.WriterOptions{ContentType: "text/plain"}); err != nil {
		t.Fatal(err)
	}
	got, err := b.ReadAll(t.Context(), "uploads/acme/large")
	if err != nil || !bytes.Equal(got, large) {
		t.Errorf("%d bytes of %d came back, %v", len(got), len(large), err)
	}
	var names []string
	for list := b.List(&blob.ListOptions{Prefix: "uploads/acme/"}); ; {
		o, err := list.Next(t.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, o.Key)
	}
	if len(names) != 2 {
		t.Errorf("listed %v", names)
	}
	if err := b.Delete(t.Context(), "uploads/acme/small"); err != nil {
		t.Error(err)
	}
	if _, err := b.ReadAll(t.Context(), "uploads/acme/small"); gcerrors.Code(err) != gcerrors.NotFound {
		t.Errorf("a deleted object: %v", err)
	}
}

func write(ctx context.Context, b *blob.Bucket, key string, data []byte) error {
	w, err := b.NewWriter(ctx, key, nil)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Close()
}
