package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	runtimepb "github.com/micro/platform/proto/runtime"
)

func revisionsCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revisions [NAME[@VERSION]]",
		Short: "List the revisions of a service: what, by whom, and how it went",
		Long: `Shows the revisions that are kept of a service, or of every service, newest first.
Those that say "yes" under KEPT can be rolled back to.`,
		Args:              atMost(1),
		ValidArgsFunction: c.completeServices,
	}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		all, err := revisionsOf(ctx, x, args)
		if err != nil {
			return err
		}
		if inJSON {
			return c.JSON(all)
		}
		if len(all) == 0 {
			return nil
		}
		rows := [][]string{{"NAME", "VERSION", "REVISION", "STATUS", "CREATED", "BY", "SOURCE", "BUILD", "KEPT", "REASON"}}
		for _, r := range all {
			rows = append(rows, r.row())
		}
		return c.Table(rows)
	})
	return cmd
}

// revisionsOf answers the revisions of the service that is named, or of all.
func revisionsOf(ctx context.Context, x *client, args []string) ([]revision, error) {
	services := []*runtimepb.Service{{}}
	if len(args) > 0 {
		var err error
		if services[0].Name, services[0].Version, err = nameAndVersion(args[0]); err != nil {
			return nil, err
		}
	} else {
		rsp, err := x.runtime().Read(ctx, &runtimepb.ReadRequest{Options: &runtimepb.ReadOptions{Namespace: x.Namespace}})
		if err != nil {
			return nil, err
		}
		services = rsp.GetServices()
	}
	all := []revision{}
	for _, s := range services {
		rsp, err := x.runtime().Revisions(ctx, &runtimepb.RevisionsRequest{Service: s.GetName(), Version: s.GetVersion(), Options: x.revisionOptions()})
		if err != nil {
			return nil, err
		}
		for _, r := range rsp.GetRevisions() {
			all = append(all, newRevision(s.GetName(), r))
		}
	}
	return all, nil
}

func (x *client) revisionOptions() *runtimepb.RevisionOptions {
	return &runtimepb.RevisionOptions{Namespace: x.Namespace}
}

// revision is a revision as -o json has it.
type revision struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Number    int64  `json:"revision"`
	Status    string `json:"status"`
	Reason    string `json:"reason,omitempty"`
	Created   string `json:"created"`
	Since     string `json:"since"`
	Author    string `json:"by"`
	Source    string `json:"source"`
	Commit    string `json:"commit,omitempty"`
	Image     string `json:"image,omitempty"`
	BuiltAs   int64  `json:"built_as,omitempty"` // the revision that this is a copy of
	Instances int64  `json:"instances"`
	Ready     int64  `json:"ready"`
	Kept      bool   `json:"kept"`
}

func newRevision(name string, r *runtimepb.Revision) revision {
	return revision{
		Name: name, Version: r.GetVersion(), Number: r.GetNumber(), Status: statusName(r.GetStatus()), Reason: r.GetDetail(),
		Created: stamp(r.GetCreated()), Since: stamp(r.GetSince()), Author: r.GetAuthor(), Source: r.GetSource(), Commit: r.GetCommit(),
		Image: r.GetImage(), BuiltAs: r.GetBuiltAs(), Instances: r.GetInstances(), Ready: r.GetReady(), Kept: r.GetKept(),
	}
}

func stamp(millis int64) string { return time.UnixMilli(millis).UTC().Format(time.RFC3339) }

func (r revision) row() []string {
	build := cmp.Or(r.Commit, strings.TrimPrefix(r.Image, "sha256:"), absent)
	kept, reason := "", r.Reason
	if r.Kept {
		kept = "yes"
	}
	if r.BuiltAs != 0 {
		reason = strings.TrimSuffix(fmt.Sprintf("as revision %d; %s", r.BuiltAs, reason), "; ")
	}
	return []string{
		r.Name, r.Version, strconv.FormatInt(r.Number, 10), r.Status, ago(r.Created, time.Now()), cmp.Or(r.Author, absent), r.Source,
		build[:min(len(build), 7)], kept, reason,
	}
}

func rollBackCommand(c *cli) *cobra.Command {
	var detach bool
	cmd := &cobra.Command{
		Use:   "rollback NAME[@VERSION] [REVISION]",
		Short: "Roll a service back to an earlier revision",
		Long: `Deploys an earlier revision again, without building it: the one that ran before the
one that serves, or the one that is named. It gets the calls when it is healthy.
"micro revisions NAME" shows which are kept.`,
		Example: "  micro rollback helloworld\n  micro rollback helloworld 3",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exactly("NAME")(cmd, args)
			}
			return atMost(2)(cmd, args)
		},
		ValidArgsFunction: c.completeServices,
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			name, version, err := nameAndVersion(args[0])
			if err != nil {
				return err
			}
			req := &runtimepb.RollbackRequest{Service: name, Version: version, Options: x.revisionOptions()}
			if len(args) > 1 {
				if req.Revision, err = number("REVISION", args[1]); err != nil {
					return err
				}
			}
			rsp, err := x.runtime().Rollback(ctx, req)
			if err != nil {
				return err
			}
			if !detach {
				service := &runtimepb.Service{Name: name, Version: version}
				if err := c.follow(ctx, x, newProgress(c, name, false), service, rsp.GetRevision()); err != nil {
					return err
				}
			}
			fmt.Fprintf(c.Out, "%s is rolled back to revision %d, as revision %d.\n", name, rsp.GetFrom(), rsp.GetRevision())
			return nil
		}),
	}
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "return at once, without waiting until it runs")
	return cmd
}

func scaleCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "scale NAME[@VERSION] N",
		Short:             "Set the number of instances of a service",
		Example:           "  micro scale helloworld 3",
		Args:              exactly("NAME", "N"),
		ValidArgsFunction: c.completeServices,
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			name, version, err := nameAndVersion(args[0])
			if err != nil {
				return err
			}
			n, err := number("N", args[1])
			if err != nil {
				return err
			}
			rsp, err := x.runtime().Scale(ctx, &runtimepb.ScaleRequest{Service: name, Version: version, Options: x.revisionOptions(), Instances: n})
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Out, "%s is to have %d instances, it had %d: \"micro status %s\" shows how many answer.\n", name, n, rsp.GetBefore(), name)
			return nil
		}),
	}
}

// number reads an argument that counts from 1.
func number(name, arg string) (int64, error) {
	n, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || n < 1 {
		return 0, usage("%s is %q: a number from 1 on is expected", name, arg)
	}
	return n, nil
}
