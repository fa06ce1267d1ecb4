package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	namespacespb "github.com/micro/platform/proto/namespaces"
)

// namespacesPage is how many namespaces are asked for at once.
const namespacesPage = 1000

// foundNamespace is a line of micro admin namespaces.
type foundNamespace struct {
	Namespace string    `json:"namespace"`
	Owner     string    `json:"owner"`
	Plan      string    `json:"plan"`
	Created   time.Time `json:"created"`
	State     string    `json:"state"`
	Suspended string    `json:"suspended,omitempty"`
}

func adminNamespacesCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "namespaces [TEXT]", Short: "List namespaces, optionally those whose name or owner matches a text",
		Example: "  micro admin namespaces\n  micro admin namespaces jane@example.com", Args: atMost(1),
	}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		all := []foundNamespace{}
		for req := (&namespacespb.SearchRequest{Text: strings.Join(args, ""), Limit: namespacesPage}); ; {
			rsp, err := namespacespb.NewNamespacesClient(x.Conn).Search(ctx, req)
			if err != nil {
				return err
			}
			for _, f := range rsp.GetNamespaces() {
				all = append(all, foundNamespace{f.GetNamespace(), f.GetOwner(), f.GetPlan(), time.Unix(f.GetCreated(), 0).UTC(), strings.ToLower(f.GetState().String()), f.GetSuspended()})
				req.After = f.GetNamespace()
			}
			if len(rsp.GetNamespaces()) < namespacesPage {
				break
			}
		}
		if inJSON {
			return c.JSON(all)
		}
		rows := [][]string{{"Namespace", "Owner", "Plan", "Created", "State", "Suspended"}}
		for _, f := range all {
			rows = append(rows, []string{f.Namespace, f.Owner, f.Plan, f.Created.Format(time.DateOnly), f.State, f.Suspended})
		}
		return c.Table(rows)
	})
	return cmd
}
