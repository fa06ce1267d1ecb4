package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	authpb "github.com/micro/platform/proto/auth"
)

func authCommand(c *cli) *cobra.Command {
	return group("auth", "Manage the accounts, rules and tokens of the namespace",
		group("list", "List accounts or rules", listAccountsCommand(c), listRulesCommand(c)),
		group("create", "Create an account, a rule or a token", createAccountCommand(c), createRuleCommand(c), createTokenCommand(c)),
		group("delete", "Delete an account or a rule",
			&cobra.Command{
				Use: "account ID", Short: "Delete an account; its tokens end at once", Args: exactly("ID"),
				RunE: c.with(func(ctx context.Context, x *client, args []string) error {
					_, err := authpb.NewAccountsClient(x.Conn).Delete(ctx, &authpb.DeleteAccountRequest{Id: args[0], Options: x.authOptions()})
					return during(x, "Error deleting account", err)
				}),
			},
			&cobra.Command{
				Use: "rule ID", Short: "Delete a rule", Args: exactly("ID"),
				RunE: c.with(func(ctx context.Context, x *client, args []string) error {
					_, err := authpb.NewRulesClient(x.Conn).Delete(ctx, &authpb.DeleteRequest{Id: args[0], Options: x.authOptions()})
					return c.done(x, "Rule deleted", err)
				}),
			}),
		group("update", "Change an account", updateSecretCommand(c)),
		explainCommand(c), tokenCommand(c), sessionsCommand(c), keysCommand(c))
}

func (x *client) authOptions() *authpb.Options { return &authpb.Options{Namespace: x.Namespace} }

// during says what was being done when a server refused.
func during(x *client, what string, err error) error {
	if err == nil {
		return nil
	}
	text, code := x.Explain(err)
	return fail(code, "%s: %s", what, text)
}

func (c *cli) done(x *client, text string, err error) error {
	if err != nil {
		return during(x, "Error", err)
	}
	fmt.Fprintln(c.Out, text)
	return nil
}

func listAccountsCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "accounts", Short: "List the accounts", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := authpb.NewAccountsClient(x.Conn).List(ctx, &authpb.ListAccountsRequest{Options: x.authOptions()})
		if err != nil {
			return during(x, "Error listing accounts", err)
		}
		if inJSON {
			all := make([]account, 0, len(rsp.GetAccounts()))
			for _, a := range rsp.GetAccounts() {
				all = append(all, accountOf(a))
			}
			return c.JSON(all)
		}
		rows := [][]string{{"ID", "Name", "Scopes", "Metadata"}}
		for _, a := range rsp.GetAccounts() {
			rows = append(rows, []string{a.GetId(), cmp.Or(a.GetName(), absent), cmp.Or(strings.Join(a.GetScopes(), ", "), absent),
				cmp.Or(keysAndValues(a.GetMetadata(), " "), absent)})
		}
		return c.Table(rows)
	})
	return cmd
}

func listRulesCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "rules", Short: "List the rules, in the order in which they are checked", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := authpb.NewRulesClient(x.Conn).List(ctx, &authpb.ListRequest{Options: x.authOptions()})
		if err != nil {
			return during(x, "Error", err)
		}
		rules := make([]rule, 0, len(rsp.GetRules()))
		rows := [][]string{{"ID", "Scope", "Access", "Resource", "Priority"}}
		for _, r := range rsp.GetRules() {
			one := ruleOf(r)
			rules = append(rules, one)
			rows = append(rows, []string{one.ID, cmp.Or(one.Scope, "<public>"), one.Access, one.Resource, strconv.Itoa(int(one.Priority))})
		}
		if inJSON {
			return c.JSON(rules)
		}
		return c.Table(rows)
	})
	return cmd
}

// account is an account as it is printed.
type account struct {
	ID       string            `json:"id"`
	Type     string            `json:"type"`
	Issuer   string            `json:"issuer"`
	Metadata map[string]string `json:"metadata"`
	Scopes   []string          `json:"scopes"`
	Secret   string            `json:"secret"`
	Name     string            `json:"name"`
}

func accountOf(a *authpb.Account) account {
	return account{a.GetId(), a.GetType(), a.GetIssuer(), a.GetMetadata(), a.GetScopes(), a.GetSecret(), a.GetName()}
}

// rule is a rule as -o json has it.
type rule struct {
	ID       string `json:"id"`
	Scope    string `json:"scope"`
	Access   string `json:"access"`
	Resource string `json:"resource"`
	Priority int32  `json:"priority"`
}

func ruleOf(r *authpb.Rule) rule {
	resource := strings.Join([]string{r.GetResource().GetType(), r.GetResource().GetName(), r.GetResource().GetEndpoint()}, ":")
	return rule{r.GetId(), r.GetScope(), r.GetAccess().String(), resource, r.GetPriority()}
}

func createAccountCommand(c *cli) *cobra.Command {
	var secret, kind string
	var scopes []string
	cmd := &cobra.Command{
		Use: "account ID", Short: "Create an account; its secret is shown only once", Args: exactly("ID"),
		Example: "  micro auth create account --type service --scopes service ci",
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			rsp, err := authpb.NewAuthClient(x.Conn).Generate(ctx, &authpb.GenerateRequest{
				Id: args[0], Type: kind, Secret: secret, Scopes: scopes, Options: x.authOptions(),
			})
			if err != nil {
				return during(x, "Error creating account", err)
			}
			return c.printMade("Account created", accountOf(rsp.GetAccount()))
		}),
	}
	f := cmd.Flags()
	f.StringVar(&secret, "secret", "", "the secret (default: generated)")
	f.StringSliceVar(&scopes, "scopes", nil, "what the account may do: `a,b`")
	f.StringVar(&kind, "type", "", "user or service")
	return cmd
}

func (c *cli) printMade(what string, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		fmt.Fprintf(c.Out, "%s: %s\n", what, b)
	}
	return err
}

func createRuleCommand(c *cli) *cobra.Command {
	var scope, resource, access string
	var priority int32
	cmd := &cobra.Command{
		Use: "rule ID", Short: "Create a rule about who may call what", Args: exactly("ID"),
		Long: `Creates a rule. Without --scope it is about everybody, also without a login; scope * are
all accounts of the namespace, + all accounts of the platform.`,
		Example: "  micro auth create rule --resource service:helloworld:Helloworld.Call --priority 10 open",
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			parts := strings.Split(resource, ":")
			if len(parts) != 3 {
				return fail(exitFailed, "Invalid resource, must be in the format type:name:endpoint")
			}
			value, ok := map[string]authpb.Access{"granted": authpb.Access_GRANTED, "denied": authpb.Access_DENIED}[access]
			if !ok {
				return usage("--access is %q: granted and denied are possible", access)
			}
			_, err := authpb.NewRulesClient(x.Conn).Create(ctx, &authpb.CreateRequest{
				Rule: &authpb.Rule{Id: args[0], Scope: scope, Access: value, Priority: priority,
					Resource: &authpb.Resource{Type: parts[0], Name: parts[1], Endpoint: parts[2]}},
				Options: x.authOptions(),
			})
			return c.done(x, "Rule created", err)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&scope, "scope", "", "who the rule is about")
	f.StringVar(&resource, "resource", "", "what it is about: `type:name:endpoint`, each may be *")
	f.StringVar(&access, "access", "granted", "granted or denied")
	f.Int32Var(&priority, "priority", 0, "rules with a higher priority are checked first")
	return cmd
}

func createTokenCommand(c *cli) *cobra.Command {
	var id, secret string
	var expiry int64
	cmd := &cobra.Command{
		Use: "token", Short: "Log in as an account and print its tokens; see also \"micro auth token\"", Args: exactly(),
		RunE: c.with(func(ctx context.Context, x *client, _ []string) error {
			if id == "" || secret == "" {
				return usage("--id and --secret are needed")
			}
			rsp, err := authpb.NewAuthClient(x.Conn).Token(ctx, &authpb.TokenRequest{Id: id, Secret: secret, TokenExpiry: expiry, Options: x.authOptions()})
			if err != nil {
				return during(x, "Error creating token", err)
			}
			t := rsp.GetToken()
			return c.printMade("Token created", struct {
				AccessToken  string    `json:"access_token"`
				RefreshToken string    `json:"refresh_token"`
				Created      time.Time `json:"created"`
				Expiry       time.Time `json:"expiry"`
			}{t.GetAccessToken(), t.GetRefreshToken(), time.Unix(t.GetCreated(), 0), time.Unix(t.GetExpiry(), 0)})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&id, "id", "", "the account")
	f.StringVar(&secret, "secret", "", "its secret")
	f.Int64Var(&expiry, "expiry", 60, "lifetime in `seconds`")
	return cmd
}

func updateSecretCommand(c *cli) *cobra.Command {
	var old, fresh string
	cmd := &cobra.Command{
		Use: "secret ID", Short: "Change the secret of an account", Args: exactly("ID"),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			if fresh == "" {
				return usage("--new_secret is needed")
			}
			_, err := authpb.NewAccountsClient(x.Conn).ChangeSecret(ctx, &authpb.ChangeSecretRequest{
				Id: args[0], OldSecret: old, NewSecret: fresh, Options: x.authOptions(),
			})
			return c.done(x, "Account updated", err)
		}),
	}
	cmd.Flags().StringVar(&old, "old_secret", "", "current secret")
	cmd.Flags().StringVar(&fresh, "new_secret", "", "new secret")
	return cmd
}
