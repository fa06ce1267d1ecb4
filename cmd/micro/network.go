package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/internal/cli/terminal"
	networkpb "github.com/micro/platform/proto/network"
)

func networkCommand(c *cli) *cobra.Command {
	return group("network", "Show what can be reached in the namespace, and where",
		c.networkNodes("nodes", "List the instances that serve"),
		c.networkNodes("connections", "List the instances that the edge connects to"),
		c.networkRoutes(),
		c.networkServices(),
		c.networkHosts(),
		&cobra.Command{
			Use: "graph", Short: "Print the edge and the instances behind it, as JSON", Args: exactly(),
			RunE: c.with(func(ctx context.Context, x *client, _ []string) error {
				rsp, err := x.network().Graph(ctx, &networkpb.GraphRequest{Depth: 1})
				if err != nil {
					return err
				}
				return c.protoJSON(rsp)
			}),
		},
	)
}

func (x *client) network() networkpb.NetworkClient { return networkpb.NewNetworkClient(x.Conn) }

func (c *cli) networkNodes(use, short string) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := x.network().Nodes(ctx, &networkpb.NodesRequest{})
		if err != nil {
			return err
		}
		if inJSON {
			return c.protoJSON(rsp)
		}
		rows := [][]string{{"ID", "ADDRESS"}}
		for _, n := range rsp.GetNodes() {
			rows = append(rows, []string{n.GetId(), n.GetAddress()})
		}
		return c.Table(rows)
	})
	return cmd
}

func (c *cli) networkRoutes() *cobra.Command {
	var q networkpb.Query
	cmd := &cobra.Command{Use: "routes", Short: "List the routes to services", Args: exactly()}
	for flag, value := range map[string]*string{
		"service": &q.Service, "address": &q.Address, "gateway": &q.Gateway, "router": &q.Router, "network": &q.Network,
	} {
		cmd.Flags().StringVar(value, flag, "", "show only routes with this "+flag)
	}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := x.network().Routes(ctx, &networkpb.RoutesRequest{Query: &q})
		if err != nil {
			return err
		}
		if inJSON {
			return c.protoJSON(rsp)
		}
		rows := [][]string{{"SERVICE", "ADDRESS", "GATEWAY", "ROUTER", "NETWORK", "METRIC", "LINK"}}
		for _, r := range rsp.GetRoutes() {
			rows = append(rows, []string{r.GetService(), r.GetAddress(), r.GetGateway(), r.GetRouter(), r.GetNetwork(),
				strconv.FormatInt(r.GetMetric(), 10), r.GetLink()})
		}
		return c.Table(rows)
	})
	return cmd
}

func (c *cli) networkServices() *cobra.Command {
	cmd := &cobra.Command{Use: "services", Short: "List the services with running instances", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := x.network().Services(ctx, &networkpb.ServicesRequest{})
		if err != nil {
			return err
		}
		if inJSON {
			return c.JSON(append([]string{}, rsp.GetServices()...))
		}
		for _, name := range rsp.GetServices() {
			fmt.Fprintln(c.Out, terminal.OneLine(name))
		}
		return nil
	})
	return cmd
}

func (c *cli) networkHosts() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hosts", Short: "List the hosts and how they isolate tenants' code (operators)", Args: exactly(),
	}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := x.network().Hosts(ctx, &networkpb.HostsRequest{})
		if err != nil {
			return err
		}
		if inJSON {
			return c.protoJSON(rsp)
		}
		rows := [][]string{{"NAME", "ADDRESS", "STATE", "DOCKER", "FIREWALL", "SERVICES", "BUILDS", "PROBLEMS"}}
		for _, h := range rsp.GetHosts() {
			firewall := "no"
			switch {
			case h.GetUnrouted():
				firewall = "not needed"
			case h.GetFirewall():
				firewall = "yes"
			}
			state := h.GetState()
			if a := h.GetAvailability(); a != "" && a != "active" {
				state += ", " + a
			}
			rows = append(rows, []string{h.GetName(), h.GetAddress(), state, h.GetDocker(), firewall, h.GetServicesRuntime(), h.GetBuildsRuntime(), strings.Join(h.GetProblems(), "; ")})
		}
		return c.Table(rows)
	})
	return cmd
}

// protoJSON prints a message as the HTTP API has it, with all its fields.
func (c *cli) protoJSON(m proto.Message) error {
	b, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return err
	}
	return c.printAnswer(b, false)
}
