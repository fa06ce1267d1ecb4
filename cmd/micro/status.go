package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/cli/remote"
	runtimepb "github.com/micro/platform/proto/runtime"
)

func statusCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [NAME [VERSION]]",
		Short: "Show the deployed services and their status",
		Long: `Shows what is deployed. A service is pending, building, starting, running, stopping,
stopped, or in error, with the reason in the last column.`,
		Args:              atMost(2),
		ValidArgsFunction: c.completeServices,
	}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		o := &runtimepb.ReadOptions{Namespace: x.Namespace}
		if len(args) > 0 {
			o.Service, o.Version = args[0], cmp.Or(strings.Join(args[1:], ""), latest)
		}
		rsp, err := x.runtime().Read(ctx, &runtimepb.ReadRequest{Options: o})
		if err != nil {
			return err
		}
		services := rsp.GetServices()
		slices.SortStableFunc(services, func(a, b *runtimepb.Service) int { return strings.Compare(a.GetName(), b.GetName()) })
		if inJSON {
			return c.JSON(states(services))
		}
		if len(services) == 0 {
			return nil
		}
		rows := [][]string{{"NAME", "VERSION", "SOURCE", "STATUS", "BUILD", "UPDATED", "METADATA"}}
		for _, s := range services {
			rows = append(rows, statusRow(s, time.Now()))
		}
		return c.Table(rows)
	})
	return cmd
}

func statusRow(s *runtimepb.Service, now time.Time) []string {
	m := s.GetMetadata()
	about := fmt.Sprintf("owner=%s, group=%s", cmp.Or(m["owner"], absent), cmp.Or(m["group"], absent))
	if n := m["instances"]; n != "" && !strings.HasSuffix(n, "/1") {
		about += ", instances=" + n
	}
	switch {
	case m["crashing"] != "":
		about += ", crashing: " + m["crashing"]
	case m["last_exit"] != "":
		about += ", " + m["last_exit"]
	}
	if s.GetStatus() == statusError {
		about += ", error=" + cmp.Or(m["error"], "unknown")
	}
	build := m["build"]
	return []string{
		s.GetName(), cmp.Or(s.GetVersion(), absent), cmp.Or(m["source"], s.GetSource(), absent), statusName(s.GetStatus()),
		cmp.Or(build[:min(len(build), 7)], absent), ago(m["started"], now), about,
	}
}

// absent is what a table has for a value that there is not.
const absent = "n/a"

// ago is how long ago an RFC 3339 time was: 1d2h0m5s ago.
func ago(started string, now time.Time) string {
	t, err := time.Parse(time.RFC3339, started)
	if err != nil {
		return "unknown"
	}
	d := max(now.Sub(t).Truncate(time.Second), 0)
	days := d / (24 * time.Hour)
	if days == 0 {
		return d.String() + " ago"
	}
	return fmt.Sprintf("%dd%v ago", days, d-days*24*time.Hour)
}

// state is a deployed service as -o json has it.
type state struct {
	Name     string            `json:"name"`
	Version  string            `json:"version"`
	Source   string            `json:"source"`
	Status   string            `json:"status"`
	Error    string            `json:"error,omitempty"`
	Metadata map[string]string `json:"metadata"`
}

func states(services []*runtimepb.Service) []state {
	all := make([]state, 0, len(services))
	for _, s := range services {
		all = append(all, state{
			Name: s.GetName(), Version: s.GetVersion(), Source: cmp.Or(s.GetMetadata()["source"], s.GetSource()),
			Status: statusName(s.GetStatus()), Error: s.GetMetadata()["error"], Metadata: s.GetMetadata(),
		})
	}
	return all
}

func killCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "kill NAME[@VERSION]...",
		Short: "Stop services and delete them",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return exactly("NAME")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: c.completeServices,
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			for _, arg := range args {
				name, version, err := nameAndVersion(arg)
				if err != nil {
					return err
				}
				_, err = x.runtime().Delete(ctx, &runtimepb.DeleteRequest{
					Resource: &runtimepb.Resource{Service: &runtimepb.Service{Name: name, Version: version}},
					Options:  &runtimepb.DeleteOptions{Namespace: x.Namespace},
				})
				if err != nil {
					text, code := x.Explain(err)
					return fail(cmp.Or(code, remote.ExitOther), "%s: %s", name, text)
				}
			}
			return nil
		}),
	}
}

// nameAndVersion takes NAME@VERSION apart. A path stands for the name of its
// directory.
func nameAndVersion(arg string) (name, version string, err error) {
	name, version, _ = strings.Cut(arg, "@")
	if looksLocal(name) {
		dir, err := filepath.Abs(name)
		if err != nil {
			return "", "", err
		}
		name = filepath.Base(dir)
	}
	return name, cmp.Or(version, latest), nil
}
