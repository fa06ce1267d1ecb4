package builder

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/docker/docker/client"

	"github.com/micro/platform/builder/image"
	"github.com/micro/platform/builder/modules"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/certs"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/modproxy"
	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/tenants"
	builderpb "github.com/micro/platform/proto/builder"
)

// Options come from MICRO_BUILDER_*.
type Options struct {
	Image       string        `env:"IMAGE"        default:"micro/builder-go:latest" help:"the image that sources are compiled in; make builder-image makes the default one"`
	Push        bool          `env:"PUSH"         help:"push images to the component images, at MICRO_IMAGES_ADDRESS, for several hosts; without it they are in the Docker of this host"`
	Runtime     string        `env:"RUNTIME"      help:"Docker runtime of the build containers; empty is gVisor where MICRO_BUILDER_GVISOR finds it, else Docker's default"`
	GVisor      string        `env:"GVISOR"       default:"strangers" help:"gVisor for builds, used where Docker has it: strangers refuses builds of namespaces on other plans than local without it, require those of all tenants, auto none; off does not use it"`
	Dir         string        `env:"DIR"          help:"where sources and programs are while a build runs; Docker must see the same directory. Empty is below the system's temporary directory"`
	ModuleProxy string        `env:"MODULE_PROXY" help:"where builds get Go modules from, in the form of GOPROXY; empty is what go env GOPROXY says"`
	GitHosts    []string      `env:"GIT_HOSTS"    help:"git hosts (host or host:port) that may be private and plain http, separated by commas"`
	Concurrency int           `env:"CONCURRENCY"  default:"2"          help:"builds at the same time in this process"`
	Queue       int           `env:"QUEUE"        default:"20"         help:"builds that a namespace may have waiting"`
	CPUs        float64       `env:"CPUS"         default:"2"          help:"processors of a build container, of which it gets at most nine tenths of the host's, and an eighth of what a service gets where both want them"`
	Memory      int64         `env:"MEMORY"       default:"2147483648" help:"bytes of memory of a build container, its temporary files included"`
	Disk        int64         `env:"DISK"         default:"2147483648" help:"bytes that have to be free on this host's disk for a build to begin"`
	Pids        int64         `env:"PIDS"         default:"512"        help:"processes and threads of a build container"`
	DockerWait  time.Duration `env:"DOCKER_WAIT"  default:"10m"        help:"how long a build waits for a Docker that is away"`
	Timeout     time.Duration `env:"TIMEOUT"      default:"5m"         help:"how long compiling may take"`
	Cache       int64         `env:"CACHE"        default:"3221225472" help:"bytes at which the compiler's cache of a namespace is emptied"`
	Download    int64         `env:"DOWNLOAD"     default:"1073741824" help:"bytes of modules that one build may fetch"`
}

func (o Options) check() error {
	switch o.GVisor {
	case image.GVisorStrangers, image.GVisorRequire, image.GVisorAuto, image.GVisorOff:
		return nil
	}
	return fmt.Errorf("MICRO_BUILDER_GVISOR is %q: strangers, require, auto and off are possible", o.GVisor)
}

// Component runs the builder.
var Component = app.New("builder", start)

func start(ctx context.Context, h *app.Host, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	docker, err := dockerhost.New()
	if err != nil {
		return err
	}
	h.OnStop(func(context.Context) { docker.Close() })
	h.DiskOf("docker", func(ctx context.Context) (string, error) { return dockerhost.Root(ctx, docker) })
	svc, err := serviceOf(ctx, h, o, docker)
	if err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	builderpb.RegisterBuilderServer(s, svc)
	builderpb.RegisterComponentsServer(s, componentsAPI{s: svc})
	if err := startWorkers(ctx, h, svc); err != nil {
		return err
	}
	return h.Serve(s)
}

// serviceOf makes the service of a host whose Docker builds.
func serviceOf(ctx context.Context, h *app.Host, o Options, docker *client.Client) (*Service, error) {
	pool, err := h.DB(ctx)
	if err != nil {
		return nil, err
	}
	box, err := seal.New(h.Platform.Secrets(), "builder")
	if err != nil {
		return nil, err
	}
	framework, err := modproxy.New()
	if err != nil {
		return nil, err
	}
	proxy, err := moduleProxy(ctx, o.ModuleProxy, framework)
	if err != nil {
		return nil, err
	}
	limits, err := tenants.Open(h, nil)
	if err != nil {
		return nil, err
	}
	registry, err := registry(h, o)
	if err != nil {
		return nil, err
	}
	images := image.New(docker, proxy, image.Options{
		Registry: registry, Base: o.Image, Runtime: o.Runtime, GVisor: o.GVisor, Cluster: h.Platform.ClusterID(), CPUs: o.CPUs, Memory: o.Memory, Pids: o.Pids,
		Timeout: o.Timeout, Cache: o.Cache, Download: o.Download, Untrusted: untrusted(limits),
	})
	svc := New(pool, box, images, framework, o)
	svc.tenants = limits
	return svc, nil
}

// startWorkers has the workers of this process build.
func startWorkers(ctx context.Context, h *app.Host, svc *Service) error {
	bucket, err := h.Bucket(ctx)
	if err != nil {
		return err
	}
	dir, release, err := workDir(svc.opts.Dir)
	if err != nil {
		return fmt.Errorf("MICRO_BUILDER_DIR: %w", err)
	}
	h.OnStop(func(context.Context) { release() })
	w, err := newWorkers(svc, bucket, dir, h.Log)
	if err != nil {
		return err
	}
	if err := w.start(ctx); err != nil {
		return err
	}
	h.OnStop(w.stop)
	h.Queue("builds", svc.db.waiting)
	h.Disk("builds", dir)
	h.Go("recover", w.recoverLoop)
	h.Go("sweep", w.sweepLoop)
	return nil
}

// registry is where images are pushed; nil is nowhere.
func registry(h *app.Host, o Options) (*image.Registry, error) {
	if !o.Push {
		return nil, nil //nolint:nilnil // as it says
	}
	way, err := h.Transport("images")
	if err != nil {
		return nil, err
	}
	return image.NewRegistry(certs.ServerName("images"), way), nil
}

// untrusted looks whether a namespace may be anybody's.
func untrusted(limits *tenants.Tenants) func(context.Context, string) (bool, error) {
	return func(ctx context.Context, namespace string) (bool, error) {
		t, err := limits.Of(ctx, namespace)
		return err == nil && t.Untrusted(), err
	}
}

// moduleProxy makes the builds' module proxy. A machine without Go has no say
// in where modules come from: the setting has.
func moduleProxy(ctx context.Context, upstream string, framework *modproxy.Module) (http.Handler, error) {
	if upstream == "" {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, "go", "env", "GOPROXY").Output()
		if err == nil {
			upstream = strings.TrimSpace(string(out))
		}
	}
	return modules.New(modules.Own{Path: modproxy.Path, Handler: framework}, upstream)
}
