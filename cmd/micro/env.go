package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/cli/config"
	"github.com/micro/platform/internal/cli/remote"
)

func envCommand(c *cli) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the environments; * marks the current one", Args: exactly()}
	asJSON := outputFlag(list)
	list.RunE = func(*cobra.Command, []string) error { return c.listEnvironments(asJSON) }

	cmd := group("env", "Choose the server to talk to", list,
		&cobra.Command{Use: "get", Short: "Print the name of the current environment", Args: exactly(), RunE: c.getEnvironment},
		&cobra.Command{
			Use: "set NAME", Short: "Switch to an environment", Args: exactly("NAME"),
			ValidArgsFunction: c.completeEnvironments,
			RunE: func(_ *cobra.Command, args []string) error {
				return c.changeEnvironment(func(v config.Values) error {
					if _, err := v.Environment(args[0]); err != nil {
						return err
					}
					return v.Set("env", args[0])
				})
			},
		},
		&cobra.Command{
			Use: "add NAME ADDRESS", Short: "Add an environment, or change its address",
			Long: `Adds an environment. The address is that of the server's proxy: host or host:443
for a server that speaks TLS, host:port for one that does not.`,
			Args: exactly("NAME", "ADDRESS"),
			RunE: func(_ *cobra.Command, args []string) error {
				return c.changeEnvironment(func(v config.Values) error {
					return v.AddEnvironment(config.Environment{Name: args[0], ProxyAddress: args[1]})
				})
			},
		},
		&cobra.Command{
			Use: "del NAME", Short: "Delete an environment", Args: exactly("NAME"),
			ValidArgsFunction: c.completeEnvironments,
			RunE: func(_ *cobra.Command, args []string) error {
				return c.changeEnvironment(func(v config.Values) error { return v.RemoveEnvironment(args[0]) })
			},
		},
	)
	inGroup := cmd.RunE
	asJSONHere := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return inGroup(cmd, args)
		}
		return c.listEnvironments(asJSONHere)
	}
	return cmd
}

func (c *cli) listEnvironments(asJSON func() (bool, error)) error {
	values, current, err := c.environment()
	if err != nil {
		return err
	}
	all, err := values.Environments()
	if err != nil {
		return err
	}
	inJSON, err := asJSON()
	if err != nil {
		return err
	}
	if inJSON {
		return c.JSON(all)
	}
	var rows [][]string
	for _, e := range all {
		mark := " "
		if e.Name == current {
			mark = "*"
		}
		rows = append(rows, []string{mark + " " + e.Name, e.ProxyAddress, e.Description})
	}
	return c.Table(rows)
}

func (c *cli) getEnvironment(*cobra.Command, []string) error {
	_, current, err := c.environment()
	if err == nil {
		fmt.Fprintln(c.Out, current)
	}
	return err
}

// environment answers the settings and the name of the environment in force.
func (c *cli) environment() (config.Values, string, error) {
	file, err := c.settings()
	if err != nil {
		return nil, "", err
	}
	values, err := file.Read()
	if err != nil {
		return nil, "", err
	}
	return values, cmp.Or(c.env, values.Current()), nil
}

func (c *cli) changeEnvironment(change func(config.Values) error) error {
	file, err := c.settings()
	if err != nil {
		return err
	}
	return file.Update(func(v config.Values) error { return withExit(remote.ExitOther, change(v)) })
}

func (c *cli) completeEnvironments(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	values, _, err := c.environment()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, _ := values.Environments() // completing nothing is as good as an error
	var names []string
	for _, e := range all {
		names = append(names, e.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
