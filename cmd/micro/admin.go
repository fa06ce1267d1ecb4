package main

import (
	"context"

	"github.com/spf13/cobra"

	namespacespb "github.com/micro/platform/proto/namespaces"
)

// adminCommand is what operators of a server do to namespaces.
func adminCommand(c *cli) *cobra.Command {
	return group("admin", "Work on other namespaces, as an operator of the server",
		group("plan", "Show and set plans", adminPlanGetCommand(c), adminPlanSetCommand(c)),
		adminNamespacesCommand(c), adminSuspendCommand(c), adminResumeCommand(c), adminErasuresCommand(c))
}

func adminPlanGetCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "get NAMESPACE", Short: "Show plan and limits of a namespace as JSON", Args: exactly("NAMESPACE"),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			return c.printed(namespacespb.NewPlansClient(x.Conn).Limits(ctx, &namespacespb.LimitsRequest{Namespace: args[0]}))
		}),
	}
}

func adminPlanSetCommand(c *cli) *cobra.Command {
	var own, unset []string
	cmd := &cobra.Command{
		Use: "set NAMESPACE [PLAN]", Short: "Put a namespace on a plan, or set limits of its own",
		Long:    "Puts a namespace on a plan; \"default\" follows the server's default. It takes effect within a second.",
		Example: "  micro admin plan set demo pro\n  micro admin plan set demo --limit services=50 --limit memory=1GiB\n  micro admin plan set demo default --unset services",
		Args:    atMost(2),
	}
	cmd.Flags().StringArrayVar(&own, "limit", nil, "set a limit for this namespace only, `NAME=VALUE` (repeatable)")
	cmd.Flags().StringArrayVar(&unset, "unset", nil, "remove the namespace's own limit `NAME`, so that the plan's applies (repeatable)")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		if len(args) == 0 {
			return usage("missing argument: NAMESPACE (usage: %s)", cmd.UseLine())
		}
		limits, err := parseLimits(own)
		if err != nil {
			return err
		}
		req := &namespacespb.SetPlanRequest{Namespace: args[0], Limits: limits, Unset: unset}
		if len(args) > 1 {
			req.Plan = args[1]
		}
		if req.GetPlan() == "" && len(own)+len(unset) == 0 {
			return usage("a PLAN is needed, or --limit or --unset")
		}
		rsp, err := namespacespb.NewPlansClient(x.Conn).Set(ctx, req)
		if err != nil {
			return err
		}
		return c.done(x, "Namespace "+rsp.GetNamespace()+" is on plan "+rsp.GetPlan(), nil)
	})
	return cmd
}

func adminSuspendCommand(c *cli) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "suspend NAMESPACE", Short: "Refuse the calls of a namespace and stop its containers; nothing is lost",
		Args: exactly("NAMESPACE"),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; members of the namespace see it")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		if reason == "" {
			return usage("--reason is needed: members of the namespace see it")
		}
		_, err := namespacespb.NewPlansClient(x.Conn).Suspend(ctx, &namespacespb.SuspendRequest{Namespace: args[0], Reason: reason})
		return c.done(x, "Namespace "+args[0]+" is suspended", err)
	})
	return cmd
}

func adminResumeCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "resume NAMESPACE", Short: "Lift a suspension", Args: exactly("NAMESPACE"),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			_, err := namespacespb.NewPlansClient(x.Conn).Resume(ctx, &namespacespb.ResumeRequest{Namespace: args[0]})
			return c.done(x, "Namespace "+args[0]+" is resumed", err)
		}),
	}
}
