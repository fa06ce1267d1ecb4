package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/pkg/stdcopy"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/builder/baseimage"
	"github.com/micro/platform/builder/detect"
	"github.com/micro/platform/builder/modules"
	"github.com/micro/platform/framework/errors"
)

const (
	maxProgram = 200 << 20
	scratch    = "rw,nosuid,nodev,noexec,mode=1777,size=1g" // /tmp, in memory
	removeTime = 20 * time.Second
	pingTime   = 2 * time.Second
)

// base is what the builder knows of its base image.
type base struct{ id, goVersion string }

func (b *Builder) base(ctx context.Context) (base, error) {
	info, err := b.engine.ImageInspect(ctx, b.opts.Base)
	if isGone(err) {
		return base{}, errors.New(codes.FailedPrecondition, "the builder's image %q does not exist: its operator makes it with \"micro builder-image\"", b.opts.Base)
	}
	if err != nil {
		return base{}, fmt.Errorf("inspect base image: %w", err)
	}
	out := base{id: info.ID}
	if info.Config == nil {
		return out, nil
	}
	out.goVersion = info.Config.Labels[baseimage.LabelGo]
	for _, e := range info.Config.Env { // as the golang images have it
		if v, ok := strings.CutPrefix(e, "GOLANG_VERSION="); ok && out.goVersion == "" {
			out.goVersion = "go" + v
		}
	}
	return out, nil
}

// GoVersion answers the version of the base image's Go, "go1.26.1", or "" when
// the image does not say.
func (b *Builder) GoVersion(ctx context.Context) (string, error) {
	image, err := b.base(ctx)
	return image.goVersion, err
}

// Compile compiles a source into a program. What the compiler says goes to log.
// An *errors.Error is for the person who wrote the source; any other error means
// that the build may succeed another time.
func (b *Builder) Compile(ctx context.Context, w Work, log io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, b.opts.Timeout)
	defer cancel()
	image, err := b.base(ctx)
	if err != nil {
		return err
	}
	runtime, err := b.runtime(ctx, w.ID.Namespace)
	if err != nil {
		return err
	}
	sockets := filepath.Join(filepath.Dir(w.Program), "run")
	stop, err := b.serveModules(sockets)
	if err != nil {
		return err
	}
	defer stop()
	config, host := b.container(w, image, sockets)
	host.Runtime = runtime
	name, err := b.create(ctx, config, host)
	if err != nil {
		return err
	}
	defer b.remove(ctx, name)
	said := &tail{max: 16 << 10}
	err = b.run(ctx, name, w.Program, io.MultiWriter(log, said))
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		return errors.NewHTTP(422, "compiling took longer than %s", b.opts.Timeout)
	case err != nil:
		if e := (exit{}); errors.As(err, &e) {
			return b.explain(ctx, name, e, said.String())
		}
		return err
	}
	return checkProgram(w.Program)
}

// serveModules serves the module proxy on a socket in a directory that is
// mounted into one container.
func (b *Builder) serveModules(dir string) (stop func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "modules.sock")
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, fmt.Errorf("listen for a build's module requests: %w", err)
	}
	if err := os.Chmod(name, 0o666); err != nil { // the container's user is not ours
		l.Close()
		return nil, err
	}
	s := &http.Server{Handler: modules.Limit(b.modules, b.opts.Download), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	go s.Serve(l) //nolint:errcheck // ends with stop
	return func() { s.Close() }, nil
}

// container is the one template of all build containers.
func (b *Builder) container(w Work, image base, sockets string) (*container.Config, *container.HostConfig) {
	dir := path.Join("/src", w.Plan.Module)
	config := &container.Config{
		Image: image.id, User: "65532:65532", Labels: b.labels(w.ID),
		WorkingDir: dir,
		Entrypoint: []string{"/bin/relay"},
		Cmd:        command(w.Plan),
		Env: append(baseimage.Environ(), "GOPROXY=http://127.0.0.1:3000", "GOCACHE=/cache/go", "GOMODCACHE=/cache/mod", "HOME=/tmp", "TMPDIR=/tmp",
			"RELAY_TIMEOUT="+b.opts.Timeout.String(), "RELAY_CACHE_LIMIT="+strconv.FormatInt(b.opts.Cache, 10)),
		AttachStdout: true, AttachStderr: true,
	}
	if w.Plan.Resolve {
		config.Env = append(config.Env, "RELAY_MODULE="+dir)
	}
	labels := b.labels(ID{Namespace: w.ID.Namespace})
	labels[labelBase] = image.id
	pids := b.opts.Pids
	host := &container.HostConfig{
		// Not NetworkDisabled as well: gVisor would have no loopback then.
		NetworkMode: "none", ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
		Tmpfs:       map[string]string{"/tmp": scratch},
		LogConfig:   container.LogConfig{Type: "none"}, // what it writes is read from it directly
		OomScoreAdj: oomScore,
		Resources: container.Resources{
			NanoCPUs: int64(b.processors() * 1e9), CPUShares: shares,
			Memory: b.opts.Memory, MemorySwap: b.opts.Memory, PidsLimit: &pids,
		},
		Mounts: []mount.Mount{
			{Type: mount.TypeBind, Source: w.Source, Target: "/src", ReadOnly: true},
			{Type: mount.TypeBind, Source: sockets, Target: "/run/micro", ReadOnly: true},
			{Type: mount.TypeVolume, Source: b.cacheName(w.ID.Namespace, w.Slot, image), Target: cacheDir, VolumeOptions: &mount.VolumeOptions{Labels: labels}},
		},
	}
	return config, host
}

// command is what compiles a plan.
func command(plan detect.Plan) []string {
	cmd := []string{"go", "build"}
	switch {
	case plan.Resolve: // in the copies that relay makes of go.mod and go.sum
		cmd = append(cmd, "-mod=mod", "-modfile=/tmp/module/go.mod")
	case plan.Vendor:
		cmd = append(cmd, "-mod=vendor")
	default:
		cmd = append(cmd, "-mod=readonly")
	}
	flags := "-ldflags=-s -w"
	if plan.OldLinks {
		flags += " -checklinkname=0"
	}
	return append(cmd, flags, "-o", "/tmp/program", "./"+plan.Package)
}

// cacheName is the name of a namespace's cache, one for each of the builds that
// it has at once: either may empty its own. A new base image begins a new
// one, which Docker fills with the caches of that image.
func (b *Builder) cacheName(namespace string, slot int, image base) string {
	sum := sha256.Sum256([]byte(namespace + "\n" + image.id))
	name := "micro-" + b.opts.Cluster + "-cache-" + hex.EncodeToString(sum[:12])
	if slot > 0 {
		name += "-" + strconv.Itoa(slot)
	}
	return name
}

// remove removes a build container. The sweep comes after it.
func (b *Builder) remove(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	b.engine.ContainerRemove(ctx, name, container.RemoveOptions{Force: true}) //nolint:errcheck // as above
}

// exit is the end of a container that did not succeed.
type exit struct{ code int64 }

func (e exit) Error() string { return fmt.Sprintf("the build container ended with %d", e.code) }

// run starts a container, and copies its standard output to the file program
// and its standard error to log, until it ends.
func (b *Builder) run(ctx context.Context, name, program string, log io.Writer) error {
	streams, err := b.engine.ContainerAttach(ctx, name, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return fmt.Errorf("attach to build container: %w", err)
	}
	defer streams.Close()
	defer context.AfterFunc(ctx, streams.Close)() // a read has no context of its own
	ended, failed := b.engine.ContainerWait(ctx, name, container.WaitConditionNextExit)
	if err := b.engine.ContainerStart(ctx, name, container.StartOptions{}); err != nil {
		return fmt.Errorf("start build container: %w", err)
	}
	f, err := os.OpenFile(program, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := stdcopy.StdCopy(&bounded{f, maxProgram}, log, streams.Reader); err != nil {
		return fmt.Errorf("read from build container: %w", err)
	}
	select {
	case e := <-ended:
		if e.StatusCode != 0 {
			return exit{e.StatusCode}
		}
		return f.Close()
	case err := <-failed:
		return fmt.Errorf("wait for build container: %w", err)
	}
}

// explain makes the reason of a build that failed from what the compiler said.
func (b *Builder) explain(ctx context.Context, name string, e exit, said string) error {
	info, err := b.engine.ContainerInspect(ctx, name)
	if err != nil {
		return fmt.Errorf("inspect build container: %w", err)
	}
	if info.State != nil && info.State.OOMKilled || strings.Contains(said, "signal: killed") {
		return errors.NewHTTP(422, "compiling needs more than the %d MiB of memory that a build has", b.opts.Memory>>20)
	}
	if e.code == 125 || e.code == 137 { // the relay's own failure, or someone ended the container
		return fmt.Errorf("%w: %s", e, said)
	}
	if reason := compilerReason(said); reason != "" {
		return errors.NewHTTP(422, "%s", reason)
	}
	return errors.NewHTTP(422, "the compiler ended with %d and said nothing", e.code)
}
