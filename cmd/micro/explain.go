package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	authpb "github.com/micro/platform/proto/auth"
)

// explained is an answer as -o json has it.
type explained struct {
	Allowed bool        `json:"allowed"`
	Reason  string      `json:"reason"`
	Checks  []checked   `json:"checks"`
	Rules   []ruleAsked `json:"rules"`
}

type checked struct {
	Name   string `json:"name"`
	Passed bool   `json:"passed"`
	Detail string `json:"detail"`
}

type ruleAsked struct {
	rule
	Decides bool   `json:"decides"`
	Detail  string `json:"detail"`
}

// nobody stands for a call without a token.
const nobody = "-"

func explainCommand(c *cli) *cobra.Command {
	req := &authpb.ExplainRequest{}
	cmd := &cobra.Command{
		Use: "explain ACCOUNT SERVICE ENDPOINT", Short: "Explain whether an account may call an endpoint, and which rule decides", Args: exactly("ACCOUNT", "SERVICE", "ENDPOINT"),
		Long: `Asks what the edges ask when an account calls an endpoint: the account, its API
token, then the rules, in their order. The account "-" is a call without a token.`,
		Example: `  micro auth explain jane@example.com notes Notes.List
  micro auth explain - helloworld Helloworld.Call
  micro auth explain --token website jane@example.com notes Notes.Delete`,
	}
	cmd.Flags().StringVar(&req.Token, "token", "", "an API token of the account, its name or id")
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		if req.Account = args[0]; req.Account == nobody {
			req.Account = ""
		}
		req.Service, req.Endpoint, req.Options = args[1], args[2], x.authOptions()
		rsp, err := authpb.NewRulesClient(x.Conn).Explain(ctx, req)
		if err != nil {
			return during(x, "Error", err)
		}
		if inJSON {
			return c.JSON(explainedOf(rsp))
		}
		return c.printExplained(rsp)
	})
	return cmd
}

func explainedOf(rsp *authpb.ExplainResponse) explained {
	out := explained{Allowed: rsp.GetAllowed(), Reason: rsp.GetReason(), Checks: []checked{}, Rules: []ruleAsked{}}
	for _, k := range rsp.GetChecks() {
		out.Checks = append(out.Checks, checked{k.GetName(), k.GetPassed(), k.GetDetail()})
	}
	for _, r := range rsp.GetRules() {
		out.Rules = append(out.Rules, ruleAsked{ruleOf(r.GetRule()), r.GetDecides(), r.GetDetail()})
	}
	return out
}

func (c *cli) printExplained(rsp *authpb.ExplainResponse) error {
	rows := [][]string{{"Check", "Passed", "Detail"}}
	for _, k := range rsp.GetChecks() {
		rows = append(rows, []string{k.GetName(), yes(k.GetPassed()), k.GetDetail()})
	}
	if err := c.Table(rows); err != nil {
		return err
	}
	if len(rsp.GetRules()) > 0 {
		fmt.Fprintln(c.Out)
		rows = [][]string{{"Rule", "Scope", "Access", "Resource", "Priority", "Decides", "Detail"}}
		for _, k := range rsp.GetRules() {
			r := ruleOf(k.GetRule())
			rows = append(rows, []string{r.ID, cmp.Or(r.Scope, "<public>"), r.Access, r.Resource, strconv.Itoa(int(r.Priority)), yes(k.GetDecides()), k.GetDetail()})
		}
		if err := c.Table(rows); err != nil {
			return err
		}
	}
	verdict := "refused"
	if rsp.GetAllowed() {
		verdict = "allowed"
	}
	fmt.Fprintf(c.Out, "\n%s: %s\n", verdict, rsp.GetReason())
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
