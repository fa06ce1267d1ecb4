package image

import (
	"context"
	"fmt"
	"runtime"
	"syscall"

	"github.com/docker/docker/api/types/volume"
)

// What a build container has of its host where others want it, too: services
// have 1024 shares, and nothing else is ended before a build when memory ends.
const (
	shares   = 128
	oomScore = 500
	// most is the part of the host's processors that one build may have.
	most = 0.9
)

// processors answers how many a build container may use.
func (b *Builder) processors() float64 { return min(b.opts.CPUs, most*float64(runtime.NumCPU())) }

// Room answers how many bytes are free for a build: on the disk of dir or on
// Docker's, where that is on this host, whichever has fewer.
func (b *Builder) Room(ctx context.Context, dir string) (int64, error) {
	free, err := freeOf(dir)
	if err != nil {
		return 0, fmt.Errorf("look at the disk of builds: %w", err)
	}
	info, err := b.engine.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask Docker for its disk: %w", err)
	}
	if docker, err := freeOf(info.DockerRootDir); err == nil {
		free = min(free, docker)
	}
	return free, nil
}

// freeOf answers what is free for others than root.
func freeOf(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil //nolint:gosec // no disk is that large
}

// DropCaches removes the caches of builds that do not run, whosever they are, and
// answers how many: that costs time and no more.
func (b *Builder) DropCaches(ctx context.Context) (dropped int, err error) {
	caches, err := b.engine.VolumeList(ctx, volume.ListOptions{Filters: b.having(ID{})})
	if err != nil {
		return 0, fmt.Errorf("list caches: %w", err)
	}
	for _, v := range caches.Volumes {
		switch err := b.engine.VolumeRemove(ctx, v.Name, false); {
		case err == nil:
			dropped++
		case !isGone(err) && !isInUse(err):
			return dropped, fmt.Errorf("remove cache: %w", err)
		}
	}
	return dropped, nil
}
