// Package baseimage makes the image that Go sources are built in, from the Go
// toolchain of this machine, so that no image registry is needed: the
// toolchain, certificates, a small shell, the relay, and caches that are warm
// with the standard library and what a new service imports.
package baseimage

import (
	"context"
	"crypto/sha256"
	_ "embed" // the relay's source
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// Name is what the image is called unless a setting says otherwise.
const Name = "micro/builder-go:latest"

// The labels of the image.
const (
	LabelGo      = "micro.builder.go"      // "go1.26.1"
	labelContent = "micro.builder.content" // what it was made from
)

// layout changes when an image of the same parts has to be made again.
const layout = "1"

//go:embed relay/main.go
var relaySource []byte

// Options says what goes into the image.
type Options struct {
	Name string // empty is Name
	// Modules is the module proxy that the seed is built with.
	Modules http.Handler
	// NoSum is the path of the modules that no checksum database knows.
	NoSum string
	// Seed is the source of a Go program. What its build leaves in the caches is
	// in the image, so that the first build of a program like it is a warm one.
	// It may be nil.
	Seed fs.FS
	// Out gets a line per step.
	Out io.Writer
}

// Build makes the image unless one with the same content is there.
func Build(ctx context.Context, docker *client.Client, o Options) error {
	if o.Name == "" {
		o.Name = Name
	}
	started := time.Now()
	tool, err := findToolchain(ctx)
	if err != nil {
		return err
	}
	content, err := digest(o.Seed, tool)
	if err != nil {
		return err
	}
	before, err := docker.ImageInspect(ctx, o.Name)
	if err == nil && before.Config != nil && before.Config.Labels[labelContent] == content {
		fmt.Fprintf(o.Out, "%s is up to date (%s)\n", o.Name, tool.version)
		return nil
	}
	dir, err := os.MkdirTemp("", "micro-builder-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(o.Out, "compiling with %s, to warm the caches\n", tool.version)
	w := warmer{tool: tool, dir: dir, options: o}
	if err := w.warm(ctx); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "making %s from %s\n", o.Name, tool.root)
	if err := load(ctx, docker, o.Name, content, tool, dir); err != nil {
		return err
	}
	if before.ID != "" { // it has no name any more; a build that uses it keeps it
		docker.ImageRemove(ctx, before.ID, image.RemoveOptions{}) //nolint:errcheck // docker image prune has it
	}
	fmt.Fprintf(o.Out, "made %s in %s\n", o.Name, time.Since(started).Round(100*time.Millisecond))
	return nil
}

type toolchain struct{ root, version, proxy string }

func findToolchain(ctx context.Context) (toolchain, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION", "GOPROXY").Output()
	if err != nil {
		return toolchain{}, fmt.Errorf("the builder image is made from this machine's Go: run \"go env\": %w", err)
	}
	lines := strings.Split(string(out), "\n")
	if len(lines) < 3 || lines[0] == "" {
		return toolchain{}, fmt.Errorf("\"go env GOROOT\" says nothing")
	}
	return toolchain{root: lines[0], version: lines[1], proxy: lines[2]}, nil
}

// digest names what an image is made from.
func digest(seed fs.FS, tool toolchain) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n", layout, tool.version, Certificates(), relaySource)
	if seed == nil {
		return hex.EncodeToString(h.Sum(nil)), nil
	}
	err := fs.WalkDir(seed, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(seed, name)
		fmt.Fprintf(h, "%s %d\n%s", name, len(b), b)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// warmer fills dir: relay, gocache and gomod.
type warmer struct {
	tool    toolchain
	dir     string
	options Options
}

func (w warmer) warm(ctx context.Context) error {
	relay := filepath.Join(w.dir, "relay-source")
	if err := os.MkdirAll(relay, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(relay, "main.go"), relaySource, 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(w.dir, "gomod"), 0o755); err != nil {
		return err
	}
	if err := w.goBuild(ctx, relay, "off", "-o", filepath.Join(w.dir, "relay"), "main.go"); err != nil {
		return err
	}
	if w.options.Seed == nil {
		return nil
	}
	seed := filepath.Join(w.dir, "seed")
	if err := os.CopyFS(seed, w.options.Seed); err != nil {
		return err
	}
	proxy, stop, err := serve(w.options.Modules)
	if err != nil {
		return err
	}
	defer stop()
	return w.goBuild(ctx, seed, proxy, "-mod=mod", "-o", os.DevNull, ".")
}

// goBuild compiles as builds do later: the keys of the caches depend on it.
func (w warmer) goBuild(ctx context.Context, dir, proxy string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(w.tool.root, "bin", "go"), append([]string{"build", "-ldflags=-s -w"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(Environ(), "PATH="+os.Getenv("PATH"), "HOME="+w.dir, "GOPROXY="+proxy, "GONOSUMDB="+w.options.NoSum,
		"GOCACHE="+filepath.Join(w.dir, "gocache"), "GOMODCACHE="+filepath.Join(w.dir, "gomod"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// Environ is the settings of Go that every build has.
func Environ() []string {
	return []string{
		"GOTOOLCHAIN=local", "GOENV=off", "GOWORK=off", "GOVCS=*:off", "CGO_ENABLED=0", "GOTELEMETRY=off",
		"GOFLAGS=-trimpath -buildvcs=false -modcacherw",
	}
}

// serve serves the module proxy on loopback.
func serve(modules http.Handler) (url string, stop func(), err error) {
	if modules == nil {
		return "off", func() {}, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{Handler: modules, ReadHeaderTimeout: 10 * time.Second}
	go s.Serve(l) //nolint:errcheck // ends with stop
	return "http://" + l.Addr().String(), func() { s.Close() }, nil
}

// load streams the image into Docker.
func load(ctx context.Context, docker *client.Client, name, content string, tool toolchain, dir string) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(w, tool, dir)) }()
	defer r.Close()
	changes := []string{
		"ENV PATH=/usr/local/go/bin:/bin", "USER 65532:65532",
		"LABEL " + LabelGo + "=" + tool.version, "LABEL " + labelContent + "=" + content,
	}
	rsp, err := docker.ImageImport(ctx, image.ImportSource{Source: r, SourceName: "-"}, name, image.ImportOptions{Changes: changes})
	if err != nil {
		return fmt.Errorf("import %s: %w", name, err)
	}
	defer rsp.Close()
	_, err = readImport(rsp)
	return err
}

// readImport reads Docker's answer to an import, which ends with the image's ID.
func readImport(r io.Reader) (id string, err error) {
	d := json.NewDecoder(r)
	for {
		var m struct{ Status, Error string }
		if err := d.Decode(&m); err == io.EOF {
			break
		} else if err != nil {
			return "", fmt.Errorf("read answer of import: %w", err)
		}
		if m.Error != "" {
			return "", fmt.Errorf("import image: %s", m.Error)
		}
		if strings.HasPrefix(m.Status, "sha256:") {
			id = m.Status
		}
	}
	if id == "" {
		return "", fmt.Errorf("import image: Docker names no image")
	}
	return id, nil
}
