package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	namespacespb "github.com/micro/platform/proto/namespaces"
)

// deletion is a namespace on its way out, as it is printed.
type deletion struct {
	Namespace  string     `json:"namespace"`
	State      string     `json:"state"` // active, deleting, erasing, erased
	Reason     string     `json:"reason"`
	Account    string     `json:"account"`
	Operator   bool       `json:"operator"`
	Deleted    *time.Time `json:"deleted"`
	Erase      *time.Time `json:"erase"`
	Erased     *time.Time `json:"erased"`
	Free       *time.Time `json:"free"` // of the name; null is not yet known, or never
	Components []erasure  `json:"components"`
}

// erasure is how far a component has come.
type erasure struct {
	Component string     `json:"component"`
	Started   *time.Time `json:"started"`
	Done      *time.Time `json:"done"`
	Calls     int64      `json:"calls"`
	Error     string     `json:"error"`
}

func deletionOf(d *namespacespb.Deletion) deletion {
	out := deletion{
		Namespace: d.GetNamespace(), State: strings.ToLower(d.GetState().String()), Reason: d.GetReason(), Account: d.GetAccount(),
		Operator: d.GetOperator(), Deleted: moment(d.GetDeleted()), Erase: moment(d.GetErase()), Erased: moment(d.GetErased()), Free: moment(d.GetFree()),
		Components: []erasure{},
	}
	for _, e := range d.GetComponents() {
		out.Components = append(out.Components, erasure{e.GetComponent(), moment(e.GetStarted()), moment(e.GetDone()), e.GetCalls(), e.GetError()})
	}
	return out
}

func deleteNamespaceCommand(c *cli) *cobra.Command {
	var confirm, reason string
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete a namespace: it stops now and is erased some days later", Args: exactly("NAME"),
		Long: `Deletes a namespace that you own. Its services stop and its calls are refused at once.
Nothing is lost until the time that the answer shows: until then "micro namespace undelete"
takes it back. After that all of it is erased, for good.`,
		Example: "  micro namespace delete demo --confirm demo",
	}
	cmd.Flags().StringVar(&confirm, "confirm", "", "repeat the name to confirm, where there is no terminal to ask")
	cmd.Flags().StringVar(&reason, "reason", "", "why; members of the namespace see it")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		if confirm == "" && c.Interactive() {
			var err error
			if confirm, err = c.Ask(ctx, "All of "+args[0]+" will be erased. Its name once more: "); err != nil {
				return err
			}
		}
		if confirm != args[0] {
			return usage("--confirm wants the name of the namespace once more, which is %s", args[0])
		}
		rsp, err := namespacespb.NewNamespacesClient(x.Conn).Delete(ctx, &namespacespb.DeleteNamespaceRequest{Namespace: args[0], Confirm: confirm, Reason: reason})
		if err != nil {
			return err
		}
		fmt.Fprintf(c.Out, "Namespace %s is stopped, and will be erased at %s. To keep it: micro namespace undelete %s\n",
			args[0], shownTime(rsp.GetDeletion().GetErase()), args[0])
		return nil
	})
	return cmd
}

func undeleteNamespaceCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "undelete NAME", Short: "Restore a deleted namespace with everything in it", Args: exactly("NAME"),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			_, err := namespacespb.NewNamespacesClient(x.Conn).Undelete(ctx, &namespacespb.UndeleteNamespaceRequest{Namespace: args[0]})
			return c.done(x, "Namespace "+args[0]+" is not deleted", err)
		}),
	}
}

func namespaceStatusCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "status [NAME]", Short: "Show whether a namespace is being deleted, and how far the erasure is", Args: atMost(1)}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		name := x.Namespace
		if len(args) > 0 {
			name = args[0]
		}
		rsp, err := namespacespb.NewNamespacesClient(x.Conn).GetDeletion(ctx, &namespacespb.GetDeletionRequest{Namespace: name})
		if err != nil {
			return err
		}
		d := deletionOf(rsp.GetDeletion())
		if inJSON {
			return c.JSON(d)
		}
		return c.printDeletion(d)
	})
	return cmd
}

func (c *cli) printDeletion(d deletion) error {
	who := d.Account
	if d.Operator {
		who = "an operator"
	}
	switch d.State {
	case "deleting":
		fmt.Fprintf(c.Out, "Namespace %s was deleted by %s and will be erased at %s. To keep it: micro namespace undelete %s\n", d.Namespace, who, d.Erase.Format(time.RFC3339), d.Namespace)
	case "erased":
		fmt.Fprintf(c.Out, "Namespace %s was deleted by %s and erased at %s.\n", d.Namespace, who, d.Erased.Format(time.RFC3339))
	case "erasing":
		fmt.Fprintf(c.Out, "Namespace %s was deleted by %s and is being erased.\n", d.Namespace, who)
	default:
		fmt.Fprintf(c.Out, "Namespace %s is %s.\n", d.Namespace, d.State)
	}
	if d.Reason != "" {
		fmt.Fprintf(c.Out, "Reason: %s\n", d.Reason)
	}
	if len(d.Components) == 0 {
		return nil
	}
	rows := [][]string{{"Component", "Started", "Done", "Calls", "Error"}}
	for _, e := range d.Components {
		done := absent
		if e.Done != nil {
			done = e.Done.Format(time.RFC3339)
		}
		rows = append(rows, []string{e.Component, e.Started.Format(time.RFC3339), done, strconv.FormatInt(e.Calls, 10), e.Error})
	}
	return c.Table(rows)
}

// erasuresPage is how many deletions are asked for at once.
const erasuresPage = 1000

func adminErasuresCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "erasures", Short: "List the deleted namespaces and the progress of their erasure", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		all := []deletion{}
		for req := (&namespacespb.ListDeletionsRequest{Limit: erasuresPage}); ; {
			rsp, err := namespacespb.NewNamespacesClient(x.Conn).ListDeletions(ctx, req)
			if err != nil {
				return err
			}
			for _, d := range rsp.GetDeletions() {
				all = append(all, deletionOf(d))
				req.After = d.GetNamespace()
			}
			if len(rsp.GetDeletions()) < erasuresPage {
				break
			}
		}
		if inJSON {
			return c.JSON(all)
		}
		rows := [][]string{{"Namespace", "State", "By", "Erase", "Done", "Waiting for", "Error"}}
		for _, d := range all {
			rows = append(rows, d.row())
		}
		return c.Table(rows)
	})
	return cmd
}

// row is a deletion in a list of them.
func (d deletion) row() []string {
	done, waiting, failure := 0, []string{}, ""
	for _, e := range d.Components {
		if e.Done != nil {
			done++
			continue
		}
		waiting = append(waiting, e.Component)
		if e.Error != "" {
			failure = e.Error
		}
	}
	return []string{d.Namespace, d.State, d.Account, d.Erase.Format(time.RFC3339), strconv.Itoa(done), strings.Join(waiting, " "), failure}
}
