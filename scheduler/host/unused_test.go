package host

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"gocloud.dev/blob/memblob"

	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/services/images"
	"github.com/micro/platform/services/images/imagestest"
	"github.com/micro/platform/services/images/mirror"
)

// push makes an image of a cluster in the registry, and answers where a Docker
// finds it by the mirror of its host.
func push(t *testing.T, cluster string) (host, ref string) {
	t.Helper()
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { bucket.Close() })
	svc := images.New(t.Context(), pgtest.New(t, "images"), images.Store{Bucket: bucket}, []byte(pgtest.Secret), images.Options{Sweep: time.Hour, Age: time.Hour})
	ways := imagestest.Serve(t, svc, "builder", "host")
	img, err := random.Image(1<<10, 1)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{Labels: map[string]string{"micro.cluster": cluster}, Entrypoint: []string{"/x"}}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	repo, err := name.NewRepository(imagestest.Host + "/demo/hello")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(repo.Tag("1"), img, remote.WithTransport(ways["builder"])); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(mirror.New(ways["host"], slog.New(slog.DiscardHandler)))
	t.Cleanup(s.Close)
	host = s.Listener.Addr().String()
	return host, host + "/demo/hello@" + digest.String()
}

// TestUnusedImages removes an image that Docker pulled through the mirror when
// no container has had it for long enough.
func TestUnusedImages(t *testing.T) {
	t.Parallel()
	docker, err := dockerhost.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	cluster := fmt.Sprintf("test%x", time.Now().UnixNano())
	host, ref := push(t, cluster)
	rsp, err := docker.ImagePull(t.Context(), ref, image.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(rsp)
	rsp.Close()
	t.Cleanup(func() {
		docker.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true}) //nolint:errcheck // it should be gone
	})
	u := newUnused(docker, cluster, Options{Images: host, Keep: time.Hour}, slog.New(slog.DiscardHandler))
	there := func(after time.Duration, want bool) {
		t.Helper()
		u.now = func() time.Time { return time.Now().Add(after) }
		if err := u.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, missing := docker.ImageInspect(t.Context(), ref); (missing == nil) != want {
			t.Errorf("after %v: %v, want it there: %v (%v: %s)", after, missing, want, err, said)
		}
	}
	there(0, true)
	c, err := docker.ContainerCreate(t.Context(), &container.Config{Image: ref}, nil, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	there(2*time.Hour, true) // a container has it
	if err := docker.ContainerRemove(t.Context(), c.ID, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	there(2*time.Hour, true) // it had it a moment ago
	elsewhere := newUnused(docker, cluster, Options{Images: "127.0.0.1:1"}, slog.New(slog.DiscardHandler))
	if err := elsewhere.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	there(2*time.Hour+time.Minute, true) // it is not from there
	there(4*time.Hour, false)
}
