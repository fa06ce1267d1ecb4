package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/billing/plans"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

func planCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "plan", Short: "List the plans, and show which one the namespace is on", Args: exactly(),
		Long: "Shows every plan with its limits side by side; the namespace's own has a star.\nAn operator of the server changes it.",
	}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		api := namespacespb.NewPlansClient(x.Conn)
		rsp, err := api.List(ctx, &namespacespb.ListPlansRequest{})
		if err != nil || inJSON {
			return c.printed(rsp, err)
		}
		mine, err := api.Limits(ctx, &namespacespb.LimitsRequest{Namespace: x.Namespace})
		if err != nil {
			return err
		}
		return c.Table(planTable(rsp.GetPlans(), mine.GetPlan()))
	})
	return cmd
}

func planTable(all []*namespacespb.Plan, mine string) [][]string {
	head, price := []string{"LIMIT"}, []string{"price a month"}
	for _, p := range all {
		if p.GetId() == mine {
			head = append(head, p.GetId()+" *")
		} else {
			head = append(head, p.GetId())
		}
		price = append(price, money(p.GetPrice()))
	}
	rows := [][]string{head, price}
	for _, i := range plans.All() {
		row := []string{i.Name}
		for _, p := range all {
			l := plans.FromMap(p.GetLimits())
			row = append(row, i.Format(l.Get(i)))
		}
		rows = append(rows, row)
	}
	return rows
}

func money(p *namespacespb.Price) string {
	if p.GetMonth() == 0 {
		return absent
	}
	return fmt.Sprintf("%d.%02d %s", p.GetMonth()/100, p.GetMonth()%100, p.GetCurrency())
}

// limit is a limit of the namespace, with what is used of it where that is
// known.
type limit struct {
	Name  string `json:"name"`
	Value int64  `json:"value"` // -1 is unlimited
	Unit  string `json:"unit"`
	Own   bool   `json:"own"`
	Used  *int64 `json:"used"`
}

func limitsCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "limits", Short: "Show the namespace's limits and usage", Args: exactly(),
		Long: "Shows every limit of the namespace with what is used of it, where that is known, and\nwhether it is suspended or a service of it held back.",
	}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := namespacespb.NewPlansClient(x.Conn).Limits(ctx, &namespacespb.LimitsRequest{Namespace: x.Namespace})
		if err != nil {
			return err
		}
		used := x.used(ctx)
		var all []limit
		for _, l := range rsp.GetLimits() {
			one := limit{Name: l.GetName(), Value: l.GetValue(), Unit: l.GetUnit(), Own: l.GetOwn()}
			if n, ok := used[l.GetName()]; ok {
				one.Used = &n
			}
			all = append(all, one)
		}
		if inJSON {
			return c.JSON(map[string]any{"namespace": rsp.GetNamespace(), "plan": rsp.GetPlan(), "limits": all,
				"suspension": rsp.GetSuspension(), "throttles": rsp.GetThrottles()})
		}
		return c.printLimits(rsp, all)
	})
	return cmd
}

func (c *cli) printLimits(rsp *namespacespb.LimitsResponse, all []limit) error {
	fmt.Fprintf(c.Out, "Namespace %s is on plan %s.\n", rsp.GetNamespace(), rsp.GetPlan())
	if s := rsp.GetSuspension(); s != nil {
		fmt.Fprintf(c.Out, "It is suspended since %s: %s\n", shownTime(s.GetSince()), s.GetReason())
	}
	for _, t := range rsp.GetThrottles() {
		what := map[namespacespb.Action]string{namespacespb.Action_SLOW: "held back", namespacespb.Action_STOP: "stopped"}[t.GetAction()]
		fmt.Fprintf(c.Out, "Service %s is %s since %s: %s\n", cmp.Or(t.GetService(), "*"), what, shownTime(t.GetSince()), t.GetReason())
	}
	rows := [][]string{{"LIMIT", "VALUE", "USED", "UNIT"}}
	infos := plans.All()
	for _, l := range all {
		value, used := strconv.FormatInt(l.Value, 10), absent
		format := func(n int64) string { return strconv.FormatInt(n, 10) }
		if at := slices.IndexFunc(infos, func(i plans.Info) bool { return i.Name == l.Name }); at >= 0 {
			value = infos[at].Format(plans.Limit(l.Value))
			format = func(n int64) string { return infos[at].Format(plans.Limit(n)) }
		}
		if l.Own {
			value += " (own)"
		}
		if l.Used != nil {
			used = format(*l.Used)
		}
		rows = append(rows, []string{l.Name, value, used, l.Unit})
	}
	return c.Table(rows)
}

// printed prints an answer as JSON.
func (c *cli) printed(m proto.Message, err error) error {
	if err != nil {
		return err
	}
	return c.protoJSON(m)
}

// parseLimits reads "name=value".
func parseLimits(texts []string) (map[string]int64, error) {
	out := map[string]int64{}
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, usage("--limit is %q, not NAME=VALUE", text)
		}
		n, err := plans.Parse(name, value)
		if err != nil {
			return nil, usage("--limit: %v", err)
		}
		out[name] = n
	}
	return out, nil
}
