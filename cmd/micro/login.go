package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/config"
	"github.com/micro/platform/internal/cli/remote"
	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
)

func loginCommand(c *cli) *cobra.Command {
	var id, email, with string
	var p password
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log in with your email address and password, or from the browser",
		Long: `Logs in to the current environment. What is not given as a flag is asked for. The
namespace is found from the address.

With --with browser you log in to the web console, by whatever means, and type a code
there: so a passkey, or an account at Google or GitHub, logs the command line in, too.`,
		Example: "  micro login --email jane@example.com\n  micro login --username admin --password-stdin < password\n  micro login --with browser",
		Args:    exactly(),
		RunE: c.with(func(ctx context.Context, x *client, _ []string) error {
			if with != "" {
				return c.loginWith(ctx, x, with)
			}
			id, err := c.given(ctx, cmp.Or(id, email), "Enter username: ", "--username")
			if err != nil {
				return err
			}
			secret, err := p.get(ctx, c, "Enter password: ")
			if err != nil {
				return err
			}
			if err := c.login(ctx, x, id, secret, c.namespace); err != nil {
				return err
			}
			fmt.Fprintln(c.Out, "Successfully logged in.")
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVar(&id, "username", "", "email address, or the id of an account")
	f.StringVar(&email, "email", "", "same as --username")
	f.StringVar(&with, "with", "", "log in from the browser: passkey, browser, or a provider such as google")
	f.StringVar(&c.code, "code", "", "code of your authenticator, or a recovery code, if you have a second factor")
	p.flags(cmd)
	return cmd
}

// login logs in and remembers it. Without a namespace an email address is
// looked for in all of them, another id in the current one first.
func (c *cli) login(ctx context.Context, x *client, id, secret, namespace string) error {
	first := namespace
	if first == "" && !strings.Contains(id, "@") {
		first = x.login.Namespace
	}
	account, token, err := c.loginIn(ctx, x, id, secret, first)
	if err != nil && namespace == "" && first != "" && first != defaultNamespace && errors.Code(err) == codes.InvalidArgument {
		account, token, err = c.loginIn(ctx, x, id, secret, defaultNamespace)
	}
	if err != nil {
		return err
	}
	return c.keep(x, account, token)
}

// loginIn logs in to one namespace, asking for the code of a second factor where
// one is needed.
func (c *cli) loginIn(ctx context.Context, x *client, id, secret, namespace string) (*authpb.Account, config.Token, error) {
	account, token, err := x.Login(ctx, id, secret, c.code, namespace)
	if err == nil || c.code != "" || errors.FromError(err).Reason != identity.CodeRequired || !c.Interactive() {
		return account, token, err
	}
	if c.code, err = c.Ask(ctx, "Code of your authenticator: "); err != nil {
		return nil, token, usage("no code was entered: use --code")
	}
	return x.Login(ctx, id, secret, c.code, namespace)
}

// loginWith logs in from the console, where people may use more than a password.
func (c *cli) loginWith(ctx context.Context, x *client, with string) error {
	if with != "browser" && with != "passkey" {
		rsp, err := authpb.NewProvidersClient(x.Conn).List(ctx, &authpb.ListProvidersRequest{})
		if err != nil {
			return err
		}
		known := []string{"browser", "passkey"}
		for _, p := range rsp.GetProviders() {
			known = append(known, p.GetId())
		}
		if !slices.Contains(known, with) {
			return usage("--with %s: the server has %s", with, strings.Join(known, ", "))
		}
	}
	account, token, err := x.LoginFromBrowser(ctx, func(address, code string, life time.Duration) {
		fmt.Fprintf(c.Err, "Open %s in your browser, log in, and type this code there:\n\n  %s\n\nIt is good for %d minutes.\n", address, code, int(life.Minutes()))
	})
	if err != nil {
		return err
	}
	if err := c.keep(x, account, token); err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "Successfully logged in to %s as %s.\n", account.GetIssuer(), account.GetId())
	return nil
}

// keep remembers a login, and makes its namespace the current one.
func (c *cli) keep(x *client, account *authpb.Account, token config.Token) error {
	login := config.Login{Address: x.login.Address, Namespace: cmp.Or(account.GetIssuer(), defaultNamespace), Account: account.GetId()}
	tokens, err := c.tokens()
	if err != nil {
		return err
	}
	if err := tokens.Put(login, token); err != nil {
		return err
	}
	return x.file.Update(func(v config.Values) error {
		if err := v.Set("namespaces."+x.env.Name+".current", login.Namespace); err != nil {
			return err
		}
		return v.Set(x.env.Name+".current-user", login.Account)
	})
}

func logoutCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Log out of the current environment",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := c.place()
			if err != nil {
				return err
			}
			tokens, err := c.tokens()
			if err != nil {
				return err
			}
			token, found, err := tokens.Get(p.login)
			if err != nil {
				return err
			}
			if err := tokens.Delete(p.login); err != nil || !found {
				return err
			}
			if err := remote.Logout(cmd.Context(), p.login.Address, token); err != nil {
				fmt.Fprintf(c.Err, "Logged out here. The server could not be told: the login is good until %s.\n",
					time.Unix(token.Expiry, 0).Format(time.DateTime))
			}
			return nil
		},
	}
}

// given answers what a flag gave, or asks for it.
func (c *cli) given(ctx context.Context, value, question, flag string) (string, error) {
	if value != "" {
		return value, nil
	}
	value, err := c.Ask(ctx, question)
	if err != nil || value == "" {
		return "", usage("nothing was entered: answer the question, or use %s", flag)
	}
	return value, nil
}

// password is how commands take one: a flag, a line of the standard input, or
// a question.
type password struct {
	value string
	stdin bool
}

func (p *password) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.value, "password", "", "the password; other users of this machine may see it, --password-stdin is safer")
	cmd.Flags().BoolVar(&p.stdin, "password-stdin", false, "read the password from the first line of the standard input")
}

func (p *password) get(ctx context.Context, c *cli, question string) (string, error) {
	var err error
	switch {
	case p.value != "":
		return p.value, nil
	case p.stdin:
		p.value, err = c.Line(ctx)
	default:
		p.value, err = c.AskSecret(ctx, question)
	}
	if err != nil || p.value == "" {
		return "", usage("no password was entered: answer the question, or use --password-stdin")
	}
	return p.value, nil
}
