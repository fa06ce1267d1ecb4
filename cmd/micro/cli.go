package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/cli/config"
	"github.com/micro/platform/internal/cli/remote"
	"github.com/micro/platform/internal/cli/terminal"
)

// defaultNamespace is what the current namespace is called until a login says
// otherwise. To a server it means the caller's own.
const defaultNamespace = "micro"

// cli is what all commands of the command line share.
type cli struct {
	*terminal.Terminal

	// Flags of every command.
	configFile, env, address, namespace string

	code string // of a second factor, given or asked for once
}

// globalFlags are the flags of every command, with the environment behind them.
func (c *cli) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVarP(&c.configFile, "config", "c", os.Getenv("MICRO_CONFIG_FILE"), "`file` with the settings (default ~/.micro/config.json)")
	f.StringVarP(&c.env, "env", "e", os.Getenv("MICRO_ENV"), "environment to use (default: the current one, see micro env)")
	f.StringVar(&c.address, "proxy_address", os.Getenv("MICRO_PROXY"), "`address` of the server, instead of the environment's")
	f.StringVar(&c.namespace, "namespace", os.Getenv("MICRO_NAMESPACE"), "namespace to act in, for operators and for calls without a login")
}

// settings names the file with the settings.
func (c *cli) settings() (*config.File, error) {
	if c.configFile != "" {
		return config.Open(c.configFile), nil
	}
	dir, err := config.Dir()
	if err != nil {
		return nil, err
	}
	return config.Open(filepath.Join(dir, "config.json")), nil
}

func (c *cli) tokens() (*config.Tokens, error) {
	dir, err := config.Dir()
	if err != nil {
		return nil, err
	}
	return config.OpenTokens(filepath.Join(dir, "tokens")), nil
}

// place is where the person is: which server, which namespace, and as whom.
type place struct {
	file   *config.File
	values config.Values
	env    config.Environment
	login  config.Login
}

func (c *cli) place() (place, error) {
	file, err := c.settings()
	if err != nil {
		return place{}, err
	}
	values, err := file.Read()
	if err != nil {
		return place{}, err
	}
	env, err := values.Environment(cmp.Or(c.env, values.Current()))
	if err != nil {
		return place{}, withExit(remote.ExitOther, err)
	}
	if c.address != "" {
		if env.ProxyAddress, err = config.CleanAddress(c.address); err != nil {
			return place{}, usage("%v", err)
		}
	}
	return place{file, values, env, config.Login{
		Address:   env.ProxyAddress,
		Namespace: cmp.Or(values.Get("namespaces."+env.Name+".current"), defaultNamespace),
		Account:   values.Get(env.Name + ".current-user"),
	}}, nil
}

// client is a session at a place: what a command that talks to a server has.
type client struct {
	*remote.Session
	place

	// Namespace is what requests name: the current one, or "" for that of the
	// token.
	Namespace string
}

// connect makes a client. The caller closes it.
func (c *cli) connect() (*client, error) {
	p, err := c.place()
	if err != nil {
		return nil, err
	}
	tokens, err := c.tokens()
	if err != nil {
		return nil, err
	}
	given := os.Getenv("MICRO_TOKEN")
	s, err := remote.Open(p.login, tokens, given)
	if err != nil {
		return nil, err
	}
	namespace := cmp.Or(c.namespace, p.login.Namespace)
	if given != "" {
		namespace = c.namespace
	}
	return &client{Session: s, place: p, Namespace: namespace}, nil
}

// with runs a command that talks to a server. Its errors are explained before
// the connection, and with it what is known of the login, is gone.
func (c *cli) with(run func(ctx context.Context, x *client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		x, err := c.connect()
		if err != nil {
			return err
		}
		defer x.Close()
		return x.explained(run(cmd.Context(), x, args))
	}
}

// outputFlag adds -o to a command that lists something, and answers whether
// JSON was asked for.
func outputFlag(cmd *cobra.Command) func() (bool, error) {
	var format string
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	return func() (bool, error) {
		if format != "table" && format != "json" {
			return false, usage("--output is %q: table and json are possible", format)
		}
		return format == "json", nil
	}
}

// exactly refuses another number of arguments, saying which are wanted.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usage("missing argument: %s (usage: %s)", names[len(args)], cmd.UseLine())
		}
		if len(args) > len(names) {
			return usage("unexpected argument %q (usage: %s)", args[len(names)], cmd.UseLine())
		}
		return nil
	}
}

// atMost refuses more than n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usage("unexpected argument %q (usage: %s)", args[n], cmd.UseLine())
		}
		return nil
	}
}

// group is a command that only has commands below it.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return cmd.Help()
	}}
	cmd.AddCommand(below...)
	return cmd
}

func unknownCommand(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %q for %q", name, cmd.CommandPath())
	if like := suggestions(cmd, name); len(like) > 0 {
		text += fmt.Sprintf("; did you mean %q?", strings.Join(like, " or "))
	}
	return usage("%s", text)
}

// suggestions answers the commands below cmd that a word may have been meant as.
func suggestions(cmd *cobra.Command, name string) []string {
	cmd.SuggestionsMinimumDistance = 2 // letters that may be wrong
	return cmd.SuggestionsFor(name)
}
