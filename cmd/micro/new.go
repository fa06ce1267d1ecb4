package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/modproxy"
	"github.com/micro/platform/internal/protogen"
	"github.com/micro/platform/internal/scaffold"
)

func newCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "new NAME",
		Short: "Create the project of a new service",
		Long: `Writes the project of a service into a new directory. It builds and runs as it is:
"micro run" deploys it, "make build" compiles it here, which needs Go and nothing
else.`,
		Example: "  micro new helloworld",
		Args:    exactly("NAME"),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.newService(cmd.Context(), args[0]) },
	}
}

func (c *cli) newService(ctx context.Context, arg string) error {
	dir, name := filepath.Split(filepath.Clean(arg))
	if err := scaffold.CheckName(name); err != nil {
		return usage("%v", err)
	}
	module, err := modproxy.New()
	if err != nil {
		return err
	}
	written, err := scaffold.New(ctx, module, filepath.Clean(dir), name)
	if err != nil {
		return err
	}
	for _, file := range written {
		fmt.Fprintln(c.Out, filepath.Join(arg, file))
	}
	c.seed(ctx, module)
	fmt.Fprintf(c.Out, "\nNext:\n  micro run %s\n  micro %s call --name=Jane\n", runnable(arg), name)
	return nil
}

// runnable writes a directory so that it is not taken for a name.
func runnable(dir string) string {
	if filepath.IsAbs(dir) || strings.HasPrefix(dir, ".") {
		return dir
	}
	return "./" + dir
}

// seed gives this machine's Go the framework. Without it services can still be
// deployed, so what goes wrong is said and no more.
func (c *cli) seed(ctx context.Context, module *modproxy.Module) {
	if err := module.SeedUser(ctx); errors.Is(err, modproxy.ErrNoGo) {
		fmt.Fprintln(c.Err, "Go is not installed here: the service can be deployed, but not built on this machine.")
	} else if err != nil {
		fmt.Fprintln(c.Err, "The framework could not be put into Go's module cache, so the service does not build on this machine:", err)
	}
}

func genCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gen [FILE.proto...]",
		Short: "Generate Go code from .proto files, or clients of services",
		Long: `Writes the Go code of .proto files beside them: of those that are named, or all below
proto/. No protoc is needed. It also makes the framework's module known to this
machine's Go, in the version that belongs to this micro.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return c.generate(cmd.Context(), args) },
	}
	cmd.AddCommand(genClientCommand(c))
	return cmd
}

func (c *cli) generate(ctx context.Context, files []string) error {
	dir, err := moduleRoot()
	if err != nil {
		return err
	}
	module, err := modproxy.New()
	if err != nil {
		return err
	}
	from, err := module.Align(dir) // first: it helps even where there is nothing to generate
	if err != nil {
		return err
	}
	if from != "" && from != module.Version {
		fmt.Fprintf(c.Err, "go.mod names the framework's version %s now, it was %s.\n", module.Version, from)
	}
	c.seed(ctx, module)
	written, err := protogen.Generate(ctx, dir, files...)
	if err != nil {
		return err
	}
	for _, file := range written {
		fmt.Fprintln(c.Out, file)
	}
	return nil
}

// moduleRoot answers the directory of the Go module that this one is in.
func moduleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", usage("no go.mod in %s or above it: run this in the directory of a service", start)
		}
	}
}
