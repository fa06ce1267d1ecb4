package builder

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/micro/platform/builder/baseimage"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/modproxy"
	"github.com/micro/platform/internal/scaffold"
)

// MakeImage makes the default image that sources are compiled in, from this
// machine's Go, unless it is there and up to date. Its caches are warm with
// what a new service needs. A line per step goes to out.
func MakeImage(ctx context.Context, out io.Writer) error {
	docker, err := dockerhost.New()
	if err != nil {
		return err
	}
	defer docker.Close()
	framework, err := modproxy.New()
	if err != nil {
		return err
	}
	proxy, err := moduleProxy(ctx, "", framework)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "micro-seed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	const name = "helloworld"
	if _, err := scaffold.New(ctx, framework, dir, name); err != nil {
		return fmt.Errorf("make a service to warm the caches with: %w", err)
	}
	return baseimage.Build(ctx, docker, baseimage.Options{
		Modules: proxy, NoSum: modproxy.Path, Seed: os.DirFS(filepath.Join(dir, name)), Out: out,
	})
}
