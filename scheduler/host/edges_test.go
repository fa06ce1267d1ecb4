package host

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/docker/docker/client"

	"github.com/micro/platform/internal/dockerhost"
)

// TestBehind has operators hear that the edges of a host cannot join networks, as
// long as that is so.
func TestBehind(t *testing.T) {
	t.Parallel()
	docker, err := dockerhost.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	away, err := client.NewClientWithOpts(client.WithHost("unix://" + t.TempDir() + "/docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { away.Close() })
	e := newEdges(away, "t00000001", slog.New(slog.DiscardHandler))
	e.arrange(t.Context())
	if err := e.behind(t.Context()); err == nil || !strings.Contains(err.Error(), "list edges") {
		t.Errorf("while Docker is away: %v", err)
	}
	e.failure = errors.Join(errors.New("one"), errors.New("two"), errors.New("three"))
	if err := e.behind(t.Context()); err == nil || err.Error() != "one, and 2 more" {
		t.Errorf("with three failures: %v", err)
	}
	e.docker = docker
	e.arrange(t.Context())
	if err := e.behind(t.Context()); err != nil {
		t.Errorf("when Docker is back: %v", err)
	}
}
