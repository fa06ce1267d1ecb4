package host

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/scheduler/plan"
)

// unused removes images of the platform from this host that no container has had
// for some time. They can be pulled again, as long as their revision is kept.
type unused struct {
	docker  *client.Client
	cluster string
	from    string // where Docker pulled them: the host's mirror
	keep    time.Duration
	log     *slog.Logger
	now     func() time.Time
	since   map[string]time.Time // they were first seen to be unused, by ID
}

const unusedEvery = 10 * time.Minute

func newUnused(docker *client.Client, cluster string, o Options, log *slog.Logger) *unused {
	return &unused{docker: docker, cluster: cluster, from: o.Images + "/", keep: o.Keep, log: log, now: time.Now, since: map[string]time.Time{}}
}

// run looks now and then, until ctx ends.
func (u *unused) run(ctx context.Context) error {
	return app.Every(ctx, unusedEvery, func() {
		if err := u.sweep(ctx); err != nil && ctx.Err() == nil {
			u.log.Warn("images that are not used were not removed", "error", err)
		}
	})
}

func (u *unused) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	images, err := u.docker.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", plan.LabelCluster+"="+u.cluster))})
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	used, err := u.used(ctx)
	if err != nil {
		return err
	}
	since := map[string]time.Time{}
	for _, i := range images {
		if used[i.ID] {
			continue
		}
		since[i.ID] = u.now()
		if first, ok := u.since[i.ID]; ok {
			since[i.ID] = first
		}
		if u.now().Sub(since[i.ID]) < u.keep {
			continue
		}
		if err := u.remove(ctx, i); err != nil {
			return err
		}
	}
	u.since = since
	return nil
}

// used answers the images that containers have, whether they run or not.
func (u *unused) used(ctx context.Context) (map[string]bool, error) {
	all, err := u.docker.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	used := map[string]bool{}
	for _, c := range all {
		used[c.ImageID] = true
	}
	return used, nil
}

// remove gives up what was pulled of an image, and so all of it, unless somebody
// has given it another name or a container has come.
func (u *unused) remove(ctx context.Context, i image.Summary) error {
	for _, ref := range i.RepoDigests {
		if !strings.HasPrefix(ref, u.from) {
			continue
		}
		_, err := u.docker.ImageRemove(ctx, ref, image.RemoveOptions{PruneChildren: true})
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			return fmt.Errorf("remove image %s: %w", ref, err)
		}
	}
	return nil
}
