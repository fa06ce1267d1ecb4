package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/cli/config"
	"github.com/micro/platform/internal/cli/terminal"
	authpb "github.com/micro/platform/proto/auth"
)

func userCommand(c *cli) *cobra.Command {
	namespace := group("namespace", "Print the current namespace", &cobra.Command{
		Use: "set NAMESPACE", Short: "Switch to any namespace (operators)", Args: exactly("NAMESPACE"),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.setSetting("namespaces."+c.currentEnv()+".current", args[0])
		},
	})
	inGroup := namespace.RunE
	namespace.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return inGroup(cmd, args)
		}
		p, err := c.place()
		if err == nil {
			fmt.Fprintln(c.Out, p.values.Get("namespaces."+p.env.Name+".current"))
		}
		return err
	}

	cmd := group("user", "Print who is logged in",
		&cobra.Command{
			Use: "token", Short: "Print the access token, for curl and scripts", Args: exactly(),
			RunE: c.with(c.printToken),
		},
		namespace, userConfigCommand(c),
		factorCommand(c), linksCommand(c), passkeysCommand(c),
		group("set", "Change the account, or the namespace", setPasswordCommand(c), switchCommand(c, "namespace NAME")),
		group("reset", "Get back into an account", resetPasswordCommand(c)))
	below := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return below(cmd, args)
		}
		return c.with(c.printUser)(cmd, args)
	}
	return cmd
}

func (c *cli) printUser(ctx context.Context, x *client, _ []string) error {
	account, err := c.account(ctx, x)
	if err == nil {
		fmt.Fprintln(c.Out, terminal.OneLine(cmp.Or(account.GetName(), account.GetId())))
	}
	return err
}

// account answers whose token is in use.
func (c *cli) account(ctx context.Context, x *client) (*authpb.Account, error) {
	token, err := x.Token(ctx)
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, withExit(exitFailed, notLoggedIn(x))
	}
	rsp, err := authpb.NewAuthClient(x.Conn).Inspect(ctx, &authpb.InspectRequest{Token: token})
	return rsp.GetAccount(), err
}

func notLoggedIn(x *client) error {
	if x.Expired() {
		return fmt.Errorf("your login has expired: run \"micro login\"")
	}
	return fmt.Errorf("you are not logged in to %s: run \"micro login\" or \"micro signup\"", x.env.Name)
}

func (c *cli) printToken(ctx context.Context, x *client, _ []string) error {
	token, err := x.Token(ctx)
	if err != nil {
		return err
	}
	if token == "" { // an empty line, as scripts know it
		fmt.Fprintln(c.Err, notLoggedIn(x))
	}
	fmt.Fprintln(c.Out, token)
	return nil
}

// currentEnv answers the environment's name, or "local" if the settings cannot
// be read: whoever uses it next says so.
func (c *cli) currentEnv() string {
	_, name, err := c.environment()
	if err != nil {
		return "local"
	}
	return name
}

func (c *cli) setSetting(key, value string) error {
	file, err := c.settings()
	if err != nil {
		return err
	}
	return file.Update(func(v config.Values) error { return v.Set(key, value) })
}

func userConfigCommand(c *cli) *cobra.Command {
	cmd := group("config", "Print your settings",
		&cobra.Command{
			Use: "get KEY", Short: "Print a setting", Args: exactly("KEY"),
			RunE: func(_ *cobra.Command, args []string) error {
				values, _, err := c.environment()
				if err == nil {
					fmt.Fprintln(c.Out, values.Get(args[0]))
				}
				return err
			},
		},
		&cobra.Command{
			Use: "set KEY VALUE", Short: "Change a setting",
			Long: `Changes a setting of this command line. Those that people use:

  git.credentials.github   token for private repositories on github.com
  git.credentials.gitlab   the same for gitlab.com
  git.credentials.url      another host, with git.credentials.token`,
			Args: exactly("KEY", "VALUE"),
			RunE: func(_ *cobra.Command, args []string) error { return c.setSetting(args[0], args[1]) },
		},
		&cobra.Command{
			Use: "delete KEY", Short: "Delete a setting", Args: exactly("KEY"),
			RunE: func(_ *cobra.Command, args []string) error { return c.setSetting(args[0], "") },
		})
	asJSON := outputFlag(cmd)
	below := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return below(cmd, args)
		}
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		return c.with(func(ctx context.Context, x *client, _ []string) error { return c.printSettings(ctx, x, inJSON) })(cmd, args)
	}
	return cmd
}

func (c *cli) printSettings(ctx context.Context, x *client, inJSON bool) error {
	user := absent
	if x.LoggedIn() {
		if account, err := c.account(ctx, x); err == nil { // the other settings are there without a server
			user = cmp.Or(account.GetName(), account.GetId())
		}
	}
	credentials := absent
	for _, host := range []string{"github", "gitlab", "bitbucket", "token"} {
		if x.values.Get("git.credentials."+host) != "" {
			credentials = "[hidden]"
		}
	}
	rows := [][]string{
		{"user:", user},
		{"namespace:", cmp.Or(x.values.Get("namespaces."+x.env.Name+".current"), absent)},
		{"environment:", x.env.Name},
		{"git.credentials:", credentials},
		{"git.baseurl:", cmp.Or(x.values.Get("git."+x.env.Name+".baseurl"), x.values.Get("git.baseurl"), absent)},
	}
	if !inJSON {
		return c.Table(rows)
	}
	object := map[string]string{}
	for _, r := range rows {
		object[strings.TrimSuffix(r[0], ":")] = r[1]
	}
	return c.JSON(object)
}

func setPasswordCommand(c *cli) *cobra.Command {
	var email, old string
	var fresh password
	cmd := &cobra.Command{
		Use:   "password",
		Short: "Change the password",
		Args:  exactly(),
		RunE: c.with(func(ctx context.Context, x *client, _ []string) error {
			id := email
			if id == "" {
				account, err := c.account(ctx, x)
				if err != nil {
					return err
				}
				id = account.GetId()
			}
			if old == "" {
				var err error
				if old, err = c.AskSecret(ctx, "Enter current password: "); err != nil {
					return usage("no password was entered: use --old-password")
				}
			}
			secret, err := c.newPassword(ctx, &fresh, "Enter a new password: ")
			if err != nil {
				return err
			}
			_, err = authpb.NewAccountsClient(x.Conn).ChangeSecret(ctx, &authpb.ChangeSecretRequest{
				Id: id, OldSecret: old, NewSecret: secret, Options: &authpb.Options{Namespace: x.Namespace},
			})
			return err
		}),
	}
	f := cmd.Flags()
	f.StringVar(&email, "email", "", "account to change (default: who is logged in)")
	f.StringVar(&old, "old-password", "", "current password")
	f.StringVar(&fresh.value, "new-password", "", "new password")
	return cmd
}
