package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/remote"
	"github.com/micro/platform/internal/cli/terminal"
	debugpb "github.com/micro/platform/proto/debug"
	registrypb "github.com/micro/platform/proto/registry"
)

// nodeTimeout bounds the question to one node: a hung one must not hide the
// others.
const nodeTimeout = 10 * time.Second

func healthCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "health SERVICE", Short: "Check the health of a service's instances", Args: exactly("SERVICE"),
		ValidArgsFunction: c.completeServices,
	}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		found, err := x.nodesOf(ctx, args[0])
		if err != nil {
			return err
		}
		for i := range found {
			rsp := &debugpb.HealthResponse{}
			found[i].Status = found[i].ask(ctx, x, "Health", &debugpb.HealthRequest{}, rsp)
			if found[i].Status == "" {
				found[i].Status = rsp.GetStatus()
			}
		}
		if inJSON {
			return c.JSON(found)
		}
		return found.each(c.Out, "node\taddress:port\tstatus", func(n node) string {
			return n.ID + "\t" + n.Address + "\t" + n.Status
		})
	})
	return cmd
}

func statsCommand(c *cli) *cobra.Command {
	var all string
	cmd := &cobra.Command{
		Use: "stats SERVICE...", Short: "Show the resource usage of services' instances",
		ValidArgsFunction: c.completeServices,
	}
	cmd.Flags().StringVar(&all, "all", "", "builtin for all services of the platform, custom for all of yours")
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		names, err := x.meant(ctx, all, args)
		if err != nil {
			return err
		}
		var found nodes
		for _, name := range names {
			of, err := x.nodesOf(ctx, name)
			if err != nil {
				return err
			}
			for i := range of {
				of[i].Stats = &debugpb.StatsResponse{}
				of[i].Status = of[i].ask(ctx, x, "Stats", &debugpb.StatsRequest{}, of[i].Stats)
			}
			found = append(found, of...)
		}
		if inJSON {
			return c.JSON(found)
		}
		return found.each(c.Out, "NODE\tADDRESS:PORT\tSTARTED\tUPTIME\tMEMORY\tTHREADS\tGC", statsRow)
	})
	return cmd
}

func statsRow(n node) string {
	if n.Status != "" {
		return n.ID + "\t" + n.Address + "\t" + n.Status
	}
	s := n.Stats
	return fmt.Sprintf("%s\t%s\t%s\t%v\t%.2fmb\t%d\t%v", n.ID, n.Address, time.Unix(int64(s.GetStarted()), 0).Format("Jan 2 15:04:05"),
		time.Duration(s.GetUptime())*time.Second, float64(s.GetMemory())/(1<<20), s.GetThreads(), time.Duration(s.GetGc()))
}

// debugCommand is where some command lines have health and stats.
func debugCommand(c *cli) *cobra.Command {
	return group("debug", "Look into running services", healthCommand(c), statsCommand(c))
}

// meant answers the services that are named, or all of a kind.
func (x *client) meant(ctx context.Context, all string, names []string) ([]string, error) {
	switch {
	case all == "" && len(names) == 0:
		return nil, usage("missing argument: SERVICE (or --all builtin, --all custom)")
	case all == "":
		return names, nil
	case all != "builtin" && all != "custom":
		return nil, usage("--all is %q: builtin and custom are possible", all)
	}
	domain := x.Namespace
	if all == "builtin" {
		domain = defaultNamespace
	}
	rsp, err := registrypb.NewRegistryClient(x.Conn).ListServices(ctx, &registrypb.ListRequest{Options: &registrypb.Options{Domain: domain}})
	if err != nil {
		return nil, err
	}
	for _, s := range rsp.GetServices() {
		if builtin := s.GetMetadata()["domain"] == defaultNamespace && len(s.GetNodes()) > 0 && s.GetNodes()[0].GetAddress() == "platform"; builtin == (all == "builtin") {
			names = append(names, s.GetName())
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// node is an instance of a service, and what it said.
type node struct {
	Service string                 `json:"service"`
	Version string                 `json:"version"`
	ID      string                 `json:"id"`
	Address string                 `json:"address"`
	Status  string                 `json:"status,omitempty"`
	Stats   *debugpb.StatsResponse `json:"stats,omitempty"`

	domain string
}

type nodes []node

func (x *client) nodesOf(ctx context.Context, name string) (nodes, error) {
	s, domain, err := x.find(ctx, name)
	if errors.Code(err) == codes.NotFound {
		return nil, fail(remote.ExitOther, "service %s not found: \"micro services\" lists those that run", name)
	}
	if err != nil {
		return nil, err
	}
	rsp, err := registrypb.NewRegistryClient(x.Conn).GetService(ctx, &registrypb.GetRequest{Service: s.GetName(), Options: &registrypb.Options{Domain: domain}})
	if err != nil {
		return nil, err
	}
	found := nodes{}
	for _, v := range rsp.GetServices() {
		for _, n := range v.GetNodes() {
			found = append(found, node{Service: v.GetName(), Version: v.GetVersion(), ID: n.GetId(), Address: n.GetAddress(), domain: domain})
		}
	}
	return found, nil
}

// ask asks the service of a node, and answers what went wrong. The edge chooses
// the instance: no client can reach one by itself.
func (n node) ask(ctx context.Context, x *client, method string, req, rsp any) string {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	call := remote.Call{Service: n.Service, Namespace: n.domain}
	err := x.Conn.Invoke(call.Context(ctx), "/"+n.Service+".Debug/"+method, req, rsp)
	if err == nil {
		return ""
	}
	text, _ := x.Explain(err)
	return terminal.OneLine(text)
}

// each prints the nodes below their services and versions.
func (all nodes) each(out io.Writer, title string, row func(node) string) error {
	w := &strings.Builder{}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	var service, version string
	for _, n := range all {
		if n.Service != service {
			service, version = n.Service, ""
			fmt.Fprintf(t, "service  %s\n", service)
		}
		if n.Version != version {
			version = n.Version
			fmt.Fprintf(t, "\nversion %s\n\n%s\n", version, title)
		}
		fmt.Fprintln(t, row(n))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, terminal.Inert(w.String()))
	return err
}
