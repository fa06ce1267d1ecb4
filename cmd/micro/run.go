package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/config"
	"github.com/micro/platform/internal/cli/remote"
	"github.com/micro/platform/internal/cli/source"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// latest is the version of a service that nobody gave another.
const latest = "latest"

// defaultBase is where the source of a bare name is looked for.
const defaultBase = "github.com/micro/services"

// bareName is a service's name, or a folder of the default repository.
var bareName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)

// deployment is what the flags of run and update say.
type deployment struct {
	name, source, image, command, args, kind string
	env, metadata                            []string
	instances                                int64
	force, detach, verbose, watch            bool
}

// kept are the flags of run that an update takes and does not follow: what they
// say stays as the service was first run. Scripts may give them.
var kept = []string{"image", "command", "args", "type", "force"}

func (d *deployment) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&d.name, "name", "", "name of the service (default: that of its directory)")
	f.StringVar(&d.source, "source", "", "what to run, instead of an argument")
	f.StringVar(&d.image, "image", "", "a ready-made image, where the server supports that")
	f.StringVar(&d.command, "command", "", "program to start in the container, instead of the service")
	f.StringVar(&d.args, "args", "", "arguments of the program, with spaces between them")
	f.StringVar(&d.kind, "type", "", "type of the service")
	f.StringSliceVar(&d.env, "env_vars", nil, "environment of the service: `A=1,B=2`")
	f.StringSliceVar(&d.metadata, "metadata", nil, "metadata of the service: `a=1,b=2`")
	f.Int64VarP(&d.instances, "instances", "i", 0, "how many instances to run (default 1)")
	f.BoolVar(&d.force, "force", false, "deploy again even if the service runs already")
	f.BoolVarP(&d.detach, "detach", "d", false, "return at once, without waiting until it runs")
	f.BoolVarP(&d.verbose, "verbose", "v", false, "show the log of the build")
}

func runCommand(c *cli) *cobra.Command {
	var d deployment
	cmd := &cobra.Command{
		Use:   "run [SOURCE]",
		Short: "Build a service from source and run it",
		Long: `Builds a service on the server and runs it there. SOURCE is

  a directory               default: this one; its module or repository is uploaded
  github.com/org/repo       with /sub/dir and @branch, @tag or @commit behind it
  https://host/org/repo     the same on any host

What .gitignore and .microignore list is not uploaded. For a private repository:

  micro user config set git.credentials.github TOKEN`,
		Example: "  micro run ./helloworld\n  micro run --env_vars LEVEL=debug github.com/acme/shop/cart@v2",
		Args:    atMost(1),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			return c.deploy(ctx, x, &d, args, c.create)
		}),
	}
	d.flags(cmd)
	cmd.Flags().BoolVar(&d.watch, "watch", false, "deploy again whenever a file of the directory changes")
	return cmd
}

func updateCommand(c *cli) *cobra.Command {
	var d deployment
	cmd := &cobra.Command{
		Use:   "update [SOURCE|NAME]",
		Short: "Build a service again and roll it out",
		Long: `Builds a running service from its source as it is now, and moves the traffic when the
new revision is healthy. SOURCE is as in micro run; the name of a service that
runs from git, or from a directory of this machine, stands for its source.`,
		Example:           "  micro update ./helloworld\n  micro update helloworld",
		Args:              atMost(1),
		ValidArgsFunction: c.completeServices,
	}
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		for _, name := range kept {
			if cmd.Flags().Changed(name) {
				fmt.Fprintf(c.Err, "--%s has no effect on an update: to change it, \"micro kill\" the service and \"micro run\" it again\n", name)
			}
		}
		return c.deploy(ctx, x, &d, args, c.update)
	})
	d.flags(cmd)
	for _, name := range kept {
		cmd.Flags().Lookup(name).Hidden = true
	}
	return cmd
}

// target is a source that was found, as requests name it.
type target struct {
	service    *runtimepb.Service
	local      *source.Local
	entrypoint string
	host       string // of a git source
}

// deploy finds the source, uploads it if it is here, has it deployed, and
// waits for what becomes of it.
func (c *cli) deploy(ctx context.Context, x *client, d *deployment, args []string, apply applyFunc) error {
	arg := cmp.Or(strings.Join(args, ""), d.source, ".")
	metadata, err := pairs("--metadata", d.metadata)
	if err != nil {
		return err
	}
	t, err := c.target(ctx, x, d, arg)
	if err != nil {
		return err
	}
	maps.Copy(metadata, t.service.GetMetadata())
	t.service.Metadata = metadata
	if d.watch && t.local == nil {
		return usage("--watch needs a directory of this machine, %s is a repository", arg)
	}
	if err := c.deployOnce(ctx, x, d, t, apply); err != nil || !d.watch {
		return err
	}
	return c.watchDirectory(ctx, x, d, t)
}

// applyFunc asks for a deployment and answers the revision that it made.
type applyFunc func(ctx context.Context, x *client, d *deployment, t *target) (int64, error)

func (c *cli) deployOnce(ctx context.Context, x *client, d *deployment, t *target, apply applyFunc) error {
	p := newProgress(c, t.service.GetName(), d.verbose)
	if t.local != nil {
		id, err := c.upload(ctx, x, p, t)
		if err != nil {
			return err
		}
		t.service.Source = id
	}
	revision, err := apply(ctx, x, d, t)
	if err != nil {
		return err
	}
	name := t.service.GetName()
	if revision == 0 {
		fmt.Fprintf(c.Out, "%s is deployed already, nothing was started: \"micro update\" builds its source again\n", name)
		return nil
	}
	if d.detach {
		fmt.Fprintf(c.Out, "%s is being deployed: \"micro status %s\" shows how far it is\n", name, name)
		return nil
	}
	if err := c.follow(ctx, x, p, t.service, revision); err != nil {
		return err
	}
	c.howToCall(ctx, x, name)
	return nil
}

// target finds out what an argument means.
func (c *cli) target(ctx context.Context, x *client, d *deployment, arg string) (*target, error) {
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.IsDir(), err == nil && !source.IsGit(arg), looksLocal(arg):
		return localTarget(d, arg)
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !source.IsGit(arg):
		return nil, usage("%v", err)
	case source.IsGit(arg):
		return gitTarget(d, arg)
	}
	return c.namedTarget(ctx, x, d, arg)
}

// looksLocal tells a path that does not exist from the name of a repository.
func looksLocal(arg string) bool {
	return arg == "." || arg == ".." || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") || filepath.IsAbs(arg)
}

func localTarget(d *deployment, arg string) (*target, error) {
	l, err := source.FindLocal(arg)
	if err != nil {
		return nil, usage("%v", err)
	}
	return &target{
		service:    &runtimepb.Service{Name: cmp.Or(d.name, l.Name), Version: latest, Metadata: map[string]string{"source": l.Metadata()}},
		local:      &l,
		entrypoint: l.Entrypoint,
	}, nil
}

func gitTarget(d *deployment, arg string) (*target, error) {
	g, err := source.ParseGit(arg)
	if err != nil {
		return nil, usage("%v", err)
	}
	return &target{
		service: &runtimepb.Service{Name: cmp.Or(d.name, g.Name), Version: cmp.Or(g.Ref, latest), Source: g.Source,
			Metadata: map[string]string{"source": g.Source}},
		host: g.Host,
	}, nil
}

// namedTarget finds the source of a bare name: that of the service that runs
// under it, or a folder of the repository that the settings name.
func (c *cli) namedTarget(ctx context.Context, x *client, d *deployment, arg string) (*target, error) {
	name, version, _ := strings.Cut(arg, "@")
	if !bareName.MatchString(name) {
		return nil, usage("%q is neither a directory nor a repository: \"micro run --help\" shows how one is written", arg)
	}
	running, err := x.runtime().Read(ctx, &runtimepb.ReadRequest{Options: &runtimepb.ReadOptions{Namespace: x.Namespace, Service: name, Version: version}})
	if err != nil {
		return nil, err
	}
	for _, s := range running.GetServices() {
		from := s.GetMetadata()["source"]
		switch {
		case filepath.IsAbs(from):
			return localTarget(&deployment{name: cmp.Or(d.name, s.GetName())}, from)
		case source.IsGit(from):
			return gitTarget(&deployment{name: cmp.Or(d.name, s.GetName())}, from+"@"+s.GetVersion())
		default:
			return nil, usage("%s was run from a directory (%s): name it, as in \"micro update ./%s\"", name, from, name)
		}
	}
	base := cmp.Or(x.values.Get("git."+x.env.Name+".baseurl"), x.values.Get("git.baseurl"), defaultBase)
	t, err := gitTarget(d, base+"/"+arg)
	if err != nil {
		return nil, usage("there is no directory %s here, and no service of that name", arg)
	}
	fmt.Fprintf(c.Err, "There is no directory %s here: trying %s/%s.\n", arg, base, arg)
	return t, nil
}

func (x *client) runtime() runtimepb.RuntimeClient { return runtimepb.NewRuntimeClient(x.Conn) }

func (c *cli) create(ctx context.Context, x *client, d *deployment, t *target) (int64, error) {
	rsp, err := x.runtime().Create(ctx, &runtimepb.CreateRequest{
		Resource: &runtimepb.Resource{Service: t.service},
		Options: &runtimepb.CreateOptions{
			Command: strings.Fields(d.command), Args: strings.Fields(d.args), Env: d.env, Type: d.kind, Image: d.image,
			Namespace: x.Namespace, Secrets: t.secrets(x.values), Entrypoint: t.entrypoint, Instances: d.instances, Force: d.force,
		},
	})
	return rsp.GetRevision(), err
}

func (c *cli) update(ctx context.Context, x *client, d *deployment, t *target) (int64, error) {
	rsp, err := x.runtime().Update(ctx, &runtimepb.UpdateRequest{
		Resource: &runtimepb.Resource{Service: t.service},
		Options: &runtimepb.UpdateOptions{
			Namespace: x.Namespace, Entrypoint: t.entrypoint, Instances: d.instances, Env: d.env, Secrets: t.secrets(x.values),
		},
	})
	if errors.Code(err) == codes.NotFound {
		name := t.service.GetName()
		return 0, fail(remote.ExitError, "%s does not run yet: \"micro run\" deploys it first", name)
	}
	return rsp.GetRevision(), err
}

// secrets answers the credentials for a git source's host.
func (t *target) secrets(v config.Values) map[string]string {
	var token string
	switch t.host {
	case "":
	case "github.com", "gitlab.com", "bitbucket.org":
		name, _, _ := strings.Cut(t.host, ".")
		token = v.Get("git.credentials." + name)
	case strings.TrimPrefix(strings.TrimSuffix(v.Get("git.credentials.url"), "/"), "https://"):
		token = v.Get("git.credentials.token")
	}
	if token == "" {
		return nil
	}
	return map[string]string{"GIT_CREDENTIALS": token}
}

// pairs reads a=1 as often as it is given.
func pairs(flag string, given []string) (map[string]string, error) {
	m := map[string]string{}
	for _, p := range given {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, usage("%s: %q is not key=value", flag, p)
		}
		m[k] = v
	}
	return m, nil
}
