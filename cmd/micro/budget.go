package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	usagepb "github.com/micro/platform/proto/usage"
)

func budgetCommand(c *cli) *cobra.Command {
	return group("budget", "Show and set what the namespace may cost in a month", c.budgetGet(), c.budgetSet(), c.budgetDelete())
}

func (c *cli) budgetGet() *cobra.Command {
	cmd := &cobra.Command{Use: "get", Short: "Show the budgets and what is spent of them", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := usagepb.NewBudgetsClient(x.Conn).Get(ctx, &usagepb.GetBudgetsRequest{Namespace: x.Namespace})
		if err != nil {
			return err
		}
		return c.printBudgets(rsp, inJSON)
	})
	return cmd
}

func (c *cli) budgetSet() *cobra.Command {
	var req usagepb.SetBudgetRequest
	var action string
	cmd := &cobra.Command{
		Use: "set AMOUNT", Short: "Set a budget: of the namespace, or of a service", Args: exactly("AMOUNT"),
		Long: `Sets what the namespace, or a service of it, may cost in a calendar month, in the
currency of its plan; 0 is no budget. The owner gets a mail at 80 % and at 100 %.
What happens when it is spent: notify (nothing else), throttle (calls are held
back), stop (calls are refused, containers stopped).`,
		Example: "  micro budget set 50 --action stop\n  micro budget set 7.50 --service thumbnails --action throttle",
	}
	cmd.Flags().StringVar(&req.Service, "service", "", "only this service `NAME`")
	cmd.Flags().StringVar(&action, "action", "notify", "`what` to do when it is spent: notify, throttle or stop")
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		if req.Cap, err = parseMoney(args[0]); err != nil {
			return err
		}
		number, known := usagepb.BudgetAction_value[strings.ToUpper(action)]
		if !known {
			return usage("--action is %q: notify, throttle and stop are possible", action)
		}
		req.Namespace, req.Action = x.Namespace, usagepb.BudgetAction(number)
		rsp, err := usagepb.NewBudgetsClient(x.Conn).Set(ctx, &req)
		if err != nil {
			return err
		}
		return c.printBudgets(rsp, inJSON)
	})
	return cmd
}

func (c *cli) budgetDelete() *cobra.Command {
	var req usagepb.DeleteBudgetRequest
	cmd := &cobra.Command{Use: "delete", Short: "Remove a budget; the server's default applies again", Args: exactly()}
	cmd.Flags().StringVar(&req.Service, "service", "", "budget of this service `NAME`")
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		req.Namespace = x.Namespace
		_, err := usagepb.NewBudgetsClient(x.Conn).Delete(ctx, &req)
		return err
	})
	return cmd
}

func (c *cli) printBudgets(rsp *usagepb.GetBudgetsResponse, inJSON bool) error {
	if inJSON {
		return c.protoJSON(rsp)
	}
	rows := [][]string{{"SERVICE", "BUDGET", "SPENT", "SHARE", "WHEN SPENT"}}
	for _, b := range rsp.GetBudgets() {
		service, limit, share := b.GetService(), "none", absent
		if service == "" {
			service = "(all)"
		}
		spent := b.GetSpentMillionths() / 1_000_000
		if b.GetCap() > 0 {
			limit, share = amountOf(b.GetCap(), rsp.GetCurrency()), fmt.Sprintf("%d%%", b.GetSpentMillionths()/b.GetCap()/10_000)
		}
		rows = append(rows, []string{service, limit, amountOf(spent, rsp.GetCurrency()), share, strings.ToLower(b.GetAction().String())})
	}
	return c.Table(rows)
}

// amountOf writes an amount of the smallest unit of a currency.
func amountOf(amount int64, currency string) string {
	return strings.TrimSpace(fmt.Sprintf("%d.%02d %s", amount/100, amount%100, currency))
}

// parseMoney reads an amount with at most two decimals, in the smallest unit.
func parseMoney(text string) (int64, error) {
	whole, part, _ := strings.Cut(text, ".")
	if len(part) <= 2 && len(whole) <= 10 && strings.Trim(text, "0123456789.") == "" && whole != "" {
		if n, err := strconv.ParseInt(whole+(part + "00")[:2], 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, usage("%q is no amount like 50 or 7.50", text)
}
