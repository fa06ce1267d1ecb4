package images

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/services/images/imagestest"
	"github.com/micro/platform/services/images/mirror"
)

// bundle is a registry over HTTPS, with a bucket in the file system.
type bundle struct {
	*Service
	dir  string
	ways map[string]*http.Transport
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{dir: t.TempDir()}
	files, err := fileblob.OpenBucket(b.dir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		t.Fatal(err)
	}
	b.Service = New(t.Context(), pgtest.New(t, "images"), Store{files, b.dir}, []byte(pgtest.Secret), Options{Sweep: time.Hour, Age: time.Hour})
	b.log = slog.New(slog.NewTextHandler(t.Output(), nil))
	b.ways = imagestest.Serve(t, b.Service, "builder", "host", "usage")
	return b
}

// as shows the certificate of a component.
func (b *bundle) as(component string) remote.Option { return remote.WithTransport(b.ways[component]) }

func repo(t *testing.T, path string) name.Repository {
	t.Helper()
	r, err := name.NewRepository(imagestest.Host + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (b *bundle) push(t *testing.T, path, tag string, img v1.Image) name.Digest {
	t.Helper()
	r := repo(t, path)
	if err := remote.Write(r.Tag(tag), img, b.as("builder")); err != nil {
		t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return r.Digest(d.String())
}

func image(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(1<<10, 2)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// pull gets an image with all of its layers.
func pull(ref name.Reference, way remote.Option) error {
	img, err := remote.Image(ref, way)
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r) // it checks the digest
		r.Close()
		if err != nil {
			return err
		}
	}
	_, err = img.RawConfigFile()
	return err
}

// TestPushAndPull pushes as a builder and pulls through the mirror of a host.
func TestPushAndPull(t *testing.T) {
	t.Parallel()
	b := setup(t)
	img := image(t)
	ref := b.push(t, "acme/hello", "1", img)
	host := httptest.NewServer(mirror.New(b.ways["host"], b.log))
	t.Cleanup(host.Close)
	local, err := name.NewDigest(host.Listener.Addr().String()+"/acme/hello@"+ref.DigestStr(), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := pull(local, remote.WithTransport(http.DefaultTransport)); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(local.Context().Tag("2"), img); err == nil {
		t.Error("the mirror takes images")
	}
	if _, err := remote.List(local.Context()); err == nil {
		t.Error("the mirror lists tags")
	}
}

// TestWho shows who may do what.
func TestWho(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ref := b.push(t, "acme/hello", "1", image(t))
	for _, tt := range []struct {
		component, method, path string
		want                    int
	}{
		{"builder", "GET", "/v2/", 200},
		{"builder", "GET", "/v2/acme/hello/tags/list", 200},
		{"builder", "DELETE", "/namespaces/other", 204},
		{"builder", "DELETE", "/namespaces/..", 400},
		{"builder", "DELETE", "/namespaces/", 400},
		{"host", "GET", "/v2/", 200},
		{"host", "GET", "/v2/acme/hello/manifests/" + ref.DigestStr(), 200},
		{"host", "HEAD", "/v2/acme/hello/manifests/" + ref.DigestStr(), 200},
		{"host", "GET", "/v2/acme/hello/manifests/1", 403},
		{"host", "GET", "/v2/acme/hello/tags/list", 403},
		{"host", "GET", "/v2/_catalog", 403},
		{"host", "POST", "/v2/acme/hello/blobs/uploads/", 403},
		{"host", "DELETE", "/v2/acme/hello/manifests/" + ref.DigestStr(), 403},
		{"host", "DELETE", "/namespaces/acme", 403},
		{"usage", "GET", "/v2/", 403},
		{"usage", "GET", "/v2/acme/hello/manifests/" + ref.DigestStr(), 403},
	} {
		t.Run(tt.component+" "+tt.method+" "+tt.path, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "https://"+imagestest.Host+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			rsp, err := b.ways[tt.component].RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			rsp.Body.Close()
			if rsp.StatusCode != tt.want {
				t.Errorf("status %d, want %d", rsp.StatusCode, tt.want)
			}
		})
	}
}

// TestErase removes the repositories of one namespace.
func TestErase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 3 {
		b.push(t, "acme/"+fmt.Sprint("hello", i), "1", image(t))
	}
	other := b.push(t, "acme-2/hello", "1", image(t))
	status := 0
	for range 100 {
		req, err := http.NewRequestWithContext(t.Context(), "DELETE", "https://"+imagestest.Host+"/namespaces/acme", nil)
		if err != nil {
			t.Fatal(err)
		}
		rsp, err := b.ways["builder"].RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		rsp.Body.Close()
		if status = rsp.StatusCode; status != http.StatusAccepted {
			break
		}
	}
	if status != http.StatusNoContent {
		t.Fatalf("status %d at the end", status)
	}
	if _, err := os.Stat(filepath.Join(b.dir, folder, root, "repositories", "acme")); !os.IsNotExist(err) {
		t.Errorf("repositories are left: %v", err)
	}
	if err := pull(other, b.as("builder")); err != nil {
		t.Errorf("the other namespace's image: %v", err)
	}
	later(b)
	if _, err := b.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.blobs(t); n != 4 { // manifest, configuration and two layers
		t.Errorf("%d blobs are left, want the other namespace's 4", n)
	}
}

// later makes what is there old.
func later(b *bundle) { b.now = func() time.Time { return time.Now().Add(2 * b.opts.Age) } }

func (b *bundle) blobs(t *testing.T) int {
	t.Helper()
	c, err := looker{b.store.Bucket, map[object][]byte{}}.list(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	return len(c.blobs)
}

// TestSweep removes what was deleted, and leaves what has a tag, in part or as a
// whole.
func TestSweep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	base := image(t)
	grown, err := mutate.AppendLayers(base, layer(t))
	if err != nil {
		t.Fatal(err)
	}
	old, kept := b.push(t, "acme/hello", "1", base), b.push(t, "acme/hello", "2", grown)
	b.push(t, "acme/hello", "3", image(t))
	untagged := b.push(t, "acme/hello", "3", image(t)) // takes the tag
	way := b.as("builder")
	for _, ref := range []name.Reference{old, untagged} {
		if err := remote.Delete(ref, way); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.sweep(t.Context()); err != nil || n != 0 {
		t.Errorf("what is young: %d objects removed, %v", n, err)
	}
	later(b)
	if n, err := b.sweep(t.Context()); err != nil || n == 0 {
		t.Errorf("what is old: %d objects removed, %v", n, err)
	}
	if err := pull(kept, way); err != nil {
		t.Errorf("an image with a tag: %v", err)
	}
	if n := b.blobs(t); n != 5 { // manifest, configuration, three layers
		t.Errorf("%d blobs are left, want 5", n)
	}
	if n, err := b.sweep(t.Context()); err != nil || n != 0 {
		t.Errorf("once more: %d objects removed, %v", n, err)
	}
}

func layer(t *testing.T) v1.Layer {
	t.Helper()
	l, err := random.Layer(1<<10, "application/vnd.docker.image.rootfs.diff.tar.gzip")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestSweepWhilePushing pushes images whose layers are there and nobody needs,
// and sweeps all the while: of the pushes that succeed, every image is whole.
func TestSweepWhilePushing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, stop := context.WithTimeout(t.Context(), 8*time.Second)
	defer stop()
	var work sync.WaitGroup
	var pushed, refused, swept atomic.Int64
	work.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			b.opts.Age = 10 * time.Millisecond << (i % 8) // less and more than a push takes
			n, err := b.sweep(ctx)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			swept.Add(int64(n))
		}
	})
	for i := range 3 {
		img, repository := image(t), repo(t, fmt.Sprintf("acme/hello%d", i))
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		ref := repository.Digest(digest.String())
		work.Go(func() {
			for ctx.Err() == nil {
				if remote.Write(repository.Tag("1"), img, b.as("builder")) != nil {
					refused.Add(1)
					continue
				}
				pushed.Add(1)
				if err := pull(ref, b.as("builder")); err != nil {
					t.Errorf("an image is not whole: %v", err)
				}
				if err := remote.Delete(ref, b.as("builder")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	t.Logf("%d pushes, %d that found a part gone, %d objects swept", pushed.Load(), refused.Load(), swept.Load())
	if pushed.Load() == 0 || swept.Load() == 0 {
		t.Error("nothing was tried")
	}
}

// TestUploadUnderWay is not swept, however often it is looked at, until nothing
// has come for the age.
func TestUploadUnderWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	client := &http.Client{Transport: b.ways["builder"]}
	call := func(method, at string, body []byte, want int) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, at, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		rsp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer rsp.Body.Close()
		if rsp.StatusCode != want {
			t.Fatalf("%s %s: status %d, want %d", method, at, rsp.StatusCode, want)
		}
		next, err := rsp.Location()
		if err != nil {
			return ""
		}
		return next.String()
	}
	l := layer(t)
	r, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	next := call("POST", "https://"+imagestest.Host+"/v2/acme/hello/blobs/uploads/", nil, http.StatusAccepted)
	for _, piece := range [][]byte{content[:100], content[100:]} { // the second is appended
		next = call("PATCH", next, piece, http.StatusAccepted)
		if n, err := b.sweep(t.Context()); err != nil || n != 0 {
			t.Fatalf("%d objects were swept from under an upload, %v", n, err)
		}
	}
	call("PUT", next+"&digest="+digest.String(), nil, http.StatusCreated)
	call("HEAD", "https://"+imagestest.Host+"/v2/acme/hello/blobs/"+digest.String(), nil, http.StatusOK)
	call("POST", "https://"+imagestest.Host+"/v2/acme/hello/blobs/uploads/", nil, http.StatusAccepted) // and left alone
	later(b)
	if _, err := b.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if objects, _, err := b.store.Bucket.ListPage(t.Context(), blob.FirstPageToken, 10, nil); err != nil || len(objects) != 0 {
		t.Errorf("left: %v, %v", objects, err)
	}
}
