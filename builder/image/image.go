// Package image turns a source into an image: the program is compiled in a
// container that has no network, no privileges and little of everything else,
// and this process makes the image of it, so that nothing a tenant wrote ever
// decides what is in an image beside the program itself.
package image

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/micro/platform/builder/detect"
)

// Engine is what of Docker's Engine API a build needs.
type Engine interface {
	ContainerAttach(ctx context.Context, id string, o container.AttachOptions) (types.HijackedResponse, error)
	ContainerCreate(ctx context.Context, c *container.Config, h *container.HostConfig, n *network.NetworkingConfig, p *ocispec.Platform, name string) (container.CreateResponse, error)
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
	ContainerList(ctx context.Context, o container.ListOptions) ([]container.Summary, error)
	ContainerRemove(ctx context.Context, id string, o container.RemoveOptions) error
	ContainerStart(ctx context.Context, id string, o container.StartOptions) error
	ContainerStatPath(ctx context.Context, id, path string) (container.PathStat, error)
	ContainerWait(ctx context.Context, id string, condition container.WaitCondition) (<-chan container.WaitResponse, <-chan error)
	CopyToContainer(ctx context.Context, id, path string, content io.Reader, o container.CopyToContainerOptions) error
	ImageInspect(ctx context.Context, id string, o ...client.ImageInspectOption) (image.InspectResponse, error)
	ImageList(ctx context.Context, o image.ListOptions) ([]image.Summary, error)
	ImageLoad(ctx context.Context, input io.Reader, o ...client.ImageLoadOption) (image.LoadResponse, error)
	ImageRemove(ctx context.Context, id string, o image.RemoveOptions) ([]image.DeleteResponse, error)
	Info(ctx context.Context) (system.Info, error)
	Ping(ctx context.Context) (types.Ping, error)
	VolumeInspect(ctx context.Context, id string) (volume.Volume, error)
	VolumeList(ctx context.Context, o volume.ListOptions) (volume.ListResponse, error)
	VolumeRemove(ctx context.Context, id string, force bool) error
}

// Options bound a build container.
type Options struct {
	Base    string // the image that sources are compiled in
	Runtime string // of Docker's, by name; empty leaves it to GVisor
	GVisor  string // GVisorStrangers, GVisorRequire, GVisorAuto or GVisorOff
	Cluster string // whose containers, images and volumes these are
	CPUs    float64
	Memory  int64 // bytes, the files in /tmp included
	Pids    int64
	Timeout time.Duration
	// Cache is the size in bytes at which a namespace's cache is emptied.
	Cache int64
	// Download bounds the modules that one build may fetch, in bytes.
	Download int64
	// Untrusted says whether a namespace may be anybody's, not only the operator's own.
	Untrusted func(ctx context.Context, namespace string) (bool, error)
	// Registry is where images go; nil leaves them in the Docker of this host.
	Registry *Registry
}

// ID names what is built.
type ID struct {
	Namespace, Service, Version string
	Revision                    int64
}

// Work is what to compile.
type Work struct {
	ID ID
	// Slot says which of the builds that the namespace has at once it is.
	Slot int
	// Source is a directory, Program the file to make, in another one that is
	// empty but for the source.
	Source, Program string
	Plan            detect.Plan
}

// Builder makes images.
type Builder struct {
	engine   Engine
	modules  http.Handler
	registry *Registry
	opts     Options
}

// New makes a Builder whose builds get their modules from a module proxy.
func New(engine Engine, modules http.Handler, o Options) *Builder {
	return &Builder{engine: engine, modules: modules, registry: o.Registry, opts: o}
}

// The labels of containers, images and volumes.
const (
	labelCluster   = "micro.cluster"
	labelPart      = "micro.part" // "builder"
	labelNamespace = "micro.namespace"
	labelService   = "micro.service"
	labelVersion   = "micro.version"
	labelRevision  = "micro.revision"
	labelBase      = "micro.builder.base"
)

const part = "builder"

func (b *Builder) labels(id ID) map[string]string {
	return map[string]string{
		labelCluster: b.opts.Cluster, labelPart: part,
		labelNamespace: id.Namespace, labelService: id.Service, labelVersion: id.Version,
		labelRevision: fmt.Sprint(id.Revision),
	}
}

// having selects by labels. Empty fields of id, and revision 0, select all.
func (b *Builder) having(id ID) filters.Args {
	f := filters.NewArgs()
	for k, v := range b.labels(id) {
		if v != "" && (k != labelRevision || id.Revision != 0) {
			f.Add("label", k+"="+v)
		}
	}
	return f
}

// Ping says whether Docker answers.
func (b *Builder) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	_, err := b.engine.Ping(ctx)
	return err
}

// RemoveContainers removes the containers of a build that nobody waits for: an
// earlier attempt's.
func (b *Builder) RemoveContainers(ctx context.Context, id ID) error {
	found, err := b.engine.ContainerList(ctx, container.ListOptions{All: true, Filters: b.having(id)})
	if err != nil {
		return fmt.Errorf("list build containers: %w", err)
	}
	for _, c := range found {
		if err := b.engine.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true}); err != nil && !isGone(err) {
			return fmt.Errorf("remove build container: %w", err)
		}
	}
	return nil
}

// Has says whether an image that Assemble made is still there.
func (b *Builder) Has(ctx context.Context, image string) (bool, error) {
	if b.registry != nil {
		return b.registry.has(ctx, image)
	}
	_, err := b.engine.ImageInspect(ctx, image)
	if isGone(err) {
		return false, nil
	}
	return err == nil, err
}

// Sweep removes what earlier attempts and earlier base images left behind:
// containers older than any build, and caches that no build uses any more, among
// them those of namespaces that are erased: only one host hears of that when it
// happens.
func (b *Builder) Sweep(ctx context.Context, now time.Time, erased func(context.Context, string) (bool, error)) error {
	found, err := b.engine.ContainerList(ctx, container.ListOptions{All: true, Filters: b.having(ID{})})
	if err != nil {
		return fmt.Errorf("list build containers: %w", err)
	}
	for _, c := range found {
		if now.Sub(time.Unix(c.Created, 0)) < 2*b.opts.Timeout {
			continue
		}
		if err := b.engine.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true}); err != nil && !isGone(err) {
			return fmt.Errorf("remove build container: %w", err)
		}
	}
	current, err := b.base(ctx)
	if err != nil {
		return nil //nolint:nilerr // without a base image there is nothing to compare with
	}
	caches, err := b.engine.VolumeList(ctx, volume.ListOptions{Filters: b.having(ID{})})
	if err != nil {
		return fmt.Errorf("list caches: %w", err)
	}
	for _, v := range caches.Volumes {
		gone, err := erased(ctx, v.Labels[labelNamespace])
		if err != nil {
			return err
		}
		if gone || v.Labels[labelBase] != current.id {
			b.engine.VolumeRemove(ctx, v.Name, false) //nolint:errcheck // in use: the next sweep tries again
		}
	}
	return nil
}

// Erase removes all that builds of a namespace have on Docker, and says whether
// nothing is left: what is in use goes later.
func (b *Builder) Erase(ctx context.Context, namespace string) (gone bool, err error) {
	id := ID{Namespace: namespace}
	if err := b.RemoveContainers(ctx, id); err != nil {
		return false, err
	}
	if err := b.Forget(ctx, id); err != nil {
		return false, err
	}
	images, err := b.engine.ImageList(ctx, image.ListOptions{All: true, Filters: b.having(id)})
	if err != nil {
		return false, fmt.Errorf("list images: %w", err)
	}
	caches, err := b.engine.VolumeList(ctx, volume.ListOptions{Filters: b.having(id)})
	if err != nil {
		return false, fmt.Errorf("list caches: %w", err)
	}
	return len(images)+len(caches.Volumes) == 0, nil
}

// Forget removes images. Empty fields of id, and revision 0, mean all; without
// a service the namespace's cache goes as well.
func (b *Builder) Forget(ctx context.Context, id ID) error {
	if b.registry != nil {
		if err := b.registry.forget(ctx, id); err != nil {
			return err
		}
	}
	images, err := b.engine.ImageList(ctx, image.ListOptions{All: true, Filters: b.having(id)})
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	for _, i := range images {
		// A container may still be ending: force takes the names away and leaves
		// the layers to it.
		if _, err := b.engine.ImageRemove(ctx, i.ID, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil && !isGone(err) && !isInUse(err) {
			return fmt.Errorf("remove image: %w", err)
		}
	}
	if id.Service != "" {
		return nil
	}
	caches, err := b.engine.VolumeList(ctx, volume.ListOptions{Filters: b.having(id)})
	if err != nil {
		return fmt.Errorf("list caches: %w", err)
	}
	for _, v := range caches.Volumes {
		if err := b.engine.VolumeRemove(ctx, v.Name, false); err != nil && !isGone(err) && !isInUse(err) {
			return fmt.Errorf("remove cache: %w", err)
		}
	}
	return nil
}
