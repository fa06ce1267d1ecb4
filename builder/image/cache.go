package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"path"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/micro/platform/internal/pause"
)

const (
	// cacheDir is where the cache is in a build container.
	cacheDir = "/cache"
	// wholeFile says of a cache that Docker has filled it to the end.
	wholeFile = ".whole"
	// fillTime is how long another container is waited for that fills a cache.
	fillTime = 30 * time.Second
	fillPoll = 500 * time.Millisecond
)

// create creates a build container whose cache is whole. Docker fills a new one
// from the base image as it creates the first container that has it. A builder
// that ends at that moment leaves one that is filled in part, or still being
// filled, which Go would take for its own; it is given up for a new one.
func (b *Builder) create(ctx context.Context, config *container.Config, host *container.HostConfig) (name string, err error) {
	cache := host.Mounts[len(host.Mounts)-1].Source
	for {
		_, err := b.engine.VolumeInspect(ctx, cache)
		isNew := isGone(err)
		if err != nil && !isNew {
			return "", fmt.Errorf("look for a cache: %w", err)
		}
		created, err := b.engine.ContainerCreate(ctx, config, host, nil, nil, "")
		if err != nil {
			return "", fmt.Errorf("create build container: %w", err)
		}
		if isNew {
			err = b.mark(ctx, created.ID, wholeFile)
		} else {
			_, err = b.engine.ContainerStatPath(ctx, created.ID, path.Join(cacheDir, wholeFile))
		}
		if err == nil {
			return created.ID, nil
		}
		b.remove(ctx, created.ID)
		if !isGone(err) {
			return "", fmt.Errorf("look into a cache: %w", err)
		}
		if err := b.giveUp(ctx, cache); err != nil {
			return "", err
		}
	}
}

// mark writes an empty file into the cache of a container.
func (b *Builder) mark(ctx context.Context, id, name string) error {
	var file bytes.Buffer
	w := tar.NewWriter(&file)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o444}); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return b.engine.CopyToContainer(ctx, id, cacheDir, &file, container.CopyToContainerOptions{})
}

// giveUp removes a cache, as soon as nothing has it any more.
func (b *Builder) giveUp(ctx context.Context, cache string) error {
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	for {
		err := b.engine.VolumeRemove(ctx, cache, false)
		if err == nil || isGone(err) {
			return nil
		}
		if !isInUse(err) {
			return fmt.Errorf("remove a cache that is not whole: %w", err)
		}
		if pause.For(ctx, fillPoll) != nil {
			return fmt.Errorf("remove a cache that is not whole: %w", err)
		}
	}
}
