package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/dynamic"
	"github.com/micro/platform/internal/cli/remote"
	registrypb "github.com/micro/platform/proto/registry"
)

// platformServices are the platform's own services that are called like
// somebody's: their entries stand in the platform's namespace.
var platformServices = []string{"network", "runtime", "registry", "config", "store", "broker", "router", "auth", "proxy", "api", "events", "namespaces"}

// dynamic is every command that is none of ours: the endpoint of a service.
func (c *cli) dynamic(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return c.with(func(ctx context.Context, x *client, args []string) error {
		given, err := dynamic.Parse(args[1:])
		if err != nil {
			return withExit(remote.ExitOther, err)
		}
		service, domain, err := x.find(ctx, args[0])
		if errors.Code(err) == codes.NotFound || errors.Code(err) == codes.Unavailable && len(suggestions(cmd.Root(), args[0])) > 0 {
			return x.notFound(ctx, cmd, args[0])
		}
		if err != nil {
			return err
		}
		if len(given.Words) == 0 {
			dynamic.ServiceHelp(c.Out, service)
			return nil
		}
		endpoint, err := dynamic.Find(service, given.Words)
		if err != nil {
			return withExit(remote.ExitOther, err)
		}
		if given.Help {
			dynamic.EndpointHelp(c.Out, service, endpoint, given.Words)
			return nil
		}
		return c.callEndpoint(ctx, x, service, endpoint, domain, given.Flags)
	})(cmd, args)
}

func (c *cli) callEndpoint(ctx context.Context, x *client, s *registrypb.Service, e *registrypb.Endpoint, domain string, flags []dynamic.Flag) error {
	body, err := dynamic.Request(e, flags)
	if err != nil {
		return withExit(remote.ExitOther, err)
	}
	call := remote.Call{Service: s.GetName(), Endpoint: e.GetName(), Namespace: domain, Body: body}
	if dynamic.Streams(e) {
		return call.Stream(ctx, x.Conn, func(rsp []byte) error { return c.printAnswer(rsp, false) })
	}
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	rsp, err := call.Unary(ctx, x.Conn)
	if err != nil {
		return err
	}
	return c.printAnswer(rsp, false)
}

// find looks a service up, in the current namespace first, and answers in which
// one it was.
func (x *client) find(ctx context.Context, name string) (*registrypb.Service, string, error) {
	domains := []string{x.Namespace}
	switch {
	case slices.Contains(platformServices, name):
		domains = []string{defaultNamespace}
	case x.Namespace != "" && x.Namespace != defaultNamespace:
		domains = append(domains, defaultNamespace)
	}
	var err error
	for _, domain := range domains {
		var rsp *registrypb.GetResponse
		rsp, err = registrypb.NewRegistryClient(x.Conn).GetService(ctx, &registrypb.GetRequest{Service: name, Options: &registrypb.Options{Domain: domain}})
		if err == nil && len(rsp.GetServices()) > 0 {
			return rsp.GetServices()[0], domain, nil
		}
		if err != nil && errors.Code(err) != codes.NotFound {
			return nil, "", err
		}
	}
	return nil, "", errors.New(codes.NotFound, "service not found")
}

// notFound says what a word that is no command may have been meant as: a
// command of ours, or a service that runs.
func (x *client) notFound(ctx context.Context, cmd *cobra.Command, name string) error {
	running := &cobra.Command{}
	for _, service := range x.serviceNames(ctx) {
		running.AddCommand(&cobra.Command{Use: service, Run: func(*cobra.Command, []string) {}})
	}
	like := append(suggestions(cmd.Root(), name), suggestions(running, name)...)
	for i := range like {
		like[i] = fmt.Sprintf("%q", "micro "+like[i])
	}
	next := "\"micro services\" lists the services that run"
	if len(like) > 0 {
		next = fmt.Sprintf("did you mean %s?", strings.Join(like, " or "))
	}
	return fail(exitFailed, "Unrecognized micro command: %s. Please refer to 'micro --help'; %s", name, next)
}

// completeDynamic completes the name of a service, then its commands, then the
// flags of one.
func (c *cli) completeDynamic(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		names, _ := c.completeServices(cmd, args, "")
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	var words []string
	err := c.with(func(ctx context.Context, x *client, args []string) error {
		ctx, cancel := context.WithTimeout(ctx, completeTimeout)
		defer cancel()
		s, _, err := x.find(ctx, args[0])
		if err != nil {
			return err
		}
		if len(args) == 1 {
			words = dynamic.Commands(s)
			return nil
		}
		e, err := dynamic.Find(s, args[1:2])
		for _, flag := range dynamic.Flags(e) {
			words = append(words, "--"+flag+"=")
		}
		return err
	})(cmd, args)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
