package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/remote"
	"github.com/micro/platform/internal/cli/terminal"
	registrypb "github.com/micro/platform/proto/registry"
)

func servicesCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "services", Short: "List the running services", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := registrypb.NewRegistryClient(x.Conn).ListServices(ctx, &registrypb.ListRequest{Options: &registrypb.Options{Domain: x.Namespace}})
		if err != nil {
			return err
		}
		services := rsp.GetServices()
		slices.SortStableFunc(services, func(a, b *registrypb.Service) int { return strings.Compare(a.GetName(), b.GetName()) })
		if inJSON {
			return c.servicesJSON(services)
		}
		for _, s := range services {
			fmt.Fprintln(c.Out, terminal.OneLine(s.GetName()))
		}
		return nil
	})
	return cmd
}

func getCommand(c *cli) *cobra.Command {
	service := &cobra.Command{
		Use: "service NAME", Short: "Show the nodes and endpoints of a service", Args: exactly("NAME"),
		ValidArgsFunction: c.completeServices,
	}
	asJSON := outputFlag(service)
	service.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := registrypb.NewRegistryClient(x.Conn).GetService(ctx, &registrypb.GetRequest{Service: args[0], Options: &registrypb.Options{Domain: x.Namespace}})
		if errors.Code(err) == codes.NotFound || err == nil && len(rsp.GetServices()) == 0 {
			return fail(remote.ExitOther, "service not found")
		}
		if err != nil {
			return err
		}
		if inJSON {
			return c.servicesJSON(rsp.GetServices())
		}
		describe(c.Out, rsp.GetServices())
		return nil
	})
	return group("get", "Show one thing in detail", service)
}

// servicesJSON prints services as the HTTP API has them.
func (c *cli) servicesJSON(services []*registrypb.Service) error {
	all := make([]json.RawMessage, 0, len(services))
	for _, s := range services {
		b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(s)
		if err != nil {
			return err
		}
		all = append(all, b)
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.Out, terminal.Inert(out.String()))
	return err
}

// describe prints the versions of a service with their nodes, and the endpoints
// of the first.
func describe(out io.Writer, versions []*registrypb.Service) {
	w := &strings.Builder{}
	fmt.Fprintf(w, "service  %s\n", versions[0].GetName())
	for _, v := range versions {
		fmt.Fprintf(w, "\nversion %s\n\nID\tAddress\tMetadata\n", v.GetVersion())
		for _, n := range v.GetNodes() {
			fmt.Fprintf(w, "%s\t%s\t%s\n", n.GetId(), n.GetAddress(), keysAndValues(n.GetMetadata(), ","))
		}
	}
	for _, e := range versions[0].GetEndpoints() {
		fmt.Fprintf(w, "\nEndpoint: %s\n", e.GetName())
		if len(e.GetMetadata()) > 0 {
			fmt.Fprintf(w, "Metadata: %s\n", keysAndValues(e.GetMetadata(), ","))
		}
		fmt.Fprintf(w, "Request: %s\nResponse: %s\n", tree(e.GetRequest(), 0), tree(e.GetResponse(), 0))
	}
	io.WriteString(out, terminal.Inert(w.String())) //nolint:errcheck // nobody is there to hear of it
}

// tree is a message as its fields, one a line, indented.
func tree(v *registrypb.Value, depth int) string {
	if len(v.GetValues()) == 0 {
		return "{}"
	}
	indent := strings.Repeat("\t", depth+1)
	var b strings.Builder
	b.WriteString("{\n")
	for _, f := range v.GetValues() {
		b.WriteString(indent + f.GetName() + " " + f.GetType())
		if len(f.GetValues()) > 0 {
			b.WriteString(" " + tree(f, depth+1))
		}
		b.WriteString("\n")
	}
	return b.String() + strings.Repeat("\t", depth) + "}"
}

func keysAndValues(m map[string]string, separator string) string {
	var all []string
	for k, v := range m {
		all = append(all, k+"="+v)
	}
	slices.Sort(all)
	return strings.Join(all, separator)
}

// completeServices completes the names of the services that run.
func (c *cli) completeServices(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	err := c.with(func(ctx context.Context, x *client, _ []string) error {
		names = x.serviceNames(ctx)
		return nil
	})(cmd, args)
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return names, cobra.ShellCompDirectiveDefault
}

// serviceNames answers the services that run, as far as the server tells in the
// time that somebody waits for a hint.
func (x *client) serviceNames(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	rsp, err := registrypb.NewRegistryClient(x.Conn).ListServices(ctx, &registrypb.ListRequest{Options: &registrypb.Options{Domain: x.Namespace}})
	if err != nil {
		return nil
	}
	var names []string
	for _, s := range rsp.GetServices() {
		names = append(names, terminal.OneLine(s.GetName()))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
