package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/certs"
)

// certificateLife is how long a component's certificate is good by default.
const certificateLife = 90 * 24 * time.Hour

func certsCommand(c *cli) *cobra.Command {
	var dir string
	authority := func() (*certs.Authority, error) {
		if dir == "" {
			return nil, usage("which directory? --dir or MICRO_TLS_DIR names it")
		}
		return certs.Open(dir), nil
	}
	cmd := group("certs", "Make the certificates of components that run apart",
		initCertsCommand(c), issueCertCommand(c, authority), listCertsCommand(c, authority), rotateCertsCommand(c, authority))
	cmd.PersistentFlags().StringVar(&dir, "dir", os.Getenv("MICRO_TLS_DIR"), "the directory of the authority, same as MICRO_TLS_DIR")
	return cmd
}

func initCertsCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "init DIR", Short: "Create a certificate authority in a directory", Args: exactly("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := certs.Open(args[0]).Init(); err != nil {
				return err
			}
			fmt.Fprintf(c.Out, "Made an authority in %s. ca.pem goes to every host, ca.key stays here.\n", args[0])
			return nil
		},
	}
}

func issueCertCommand(c *cli, authority func() (*certs.Authority, error)) *cobra.Command {
	var hosts []string
	var life time.Duration
	cmd := &cobra.Command{
		Use: "issue COMPONENT...", Short: "Issue certificates to components, replacing existing ones", Args: cobra.MinimumNArgs(1),
	}
	asJSON := outputFlag(cmd)
	cmd.Flags().StringSliceVar(&hosts, "host", nil, "a name or address of the component's hosts (repeatable)")
	cmd.Flags().DurationVar(&life, "life", certificateLife, "how long the certificates are valid")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		for _, name := range args {
			if err := isComponent(name); err != nil {
				return err
			}
		}
		a, err := authority()
		if err != nil {
			return err
		}
		var all []certs.Certificate
		for _, name := range args {
			one, err := a.Issue(name, hosts, life)
			if err != nil {
				return err
			}
			all = append(all, one)
		}
		return c.certificates(all, inJSON)
	}
	return cmd
}

func isComponent(name string) error {
	known := []string{certs.Reader}
	for _, x := range components() {
		known = append(known, x.Name)
	}
	if !slices.Contains(known, name) {
		return usage("no component %q; there are: %s", name, strings.Join(known, ", "))
	}
	return nil
}

func listCertsCommand(c *cli, authority func() (*certs.Authority, error)) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List authorities and certificates with their expiry", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		a, err := authority()
		if err != nil {
			return err
		}
		all, err := a.List()
		if err != nil {
			return err
		}
		return c.certificates(all, inJSON)
	}
	return cmd
}

// certificates prints them, JSON or as a table.
func (c *cli) certificates(all []certs.Certificate, inJSON bool) error {
	if inJSON {
		return c.JSON(all)
	}
	rows := [][]string{{"Component", "Hosts", "Expires", "Authority", "File"}}
	for _, x := range all {
		component, hosts := x.Component, append(slices.Clone(x.Names), x.Addresses...)
		if component == "" {
			component = "(authority)"
		}
		hosts = slices.DeleteFunc(hosts, func(h string) bool { return h == certs.ServerName(x.Component) })
		expires := x.Expires.Format(time.DateOnly)
		if time.Now().After(x.Expires) {
			expires += " (over)"
		}
		signer := x.Authority
		if !x.Current {
			signer += " (not the one that signs)"
		}
		rows = append(rows, []string{component, strings.Join(hosts, " "), expires, signer, x.File})
	}
	return c.Table(rows)
}

func rotateCertsCommand(c *cli, authority func() (*certs.Authority, error)) *cobra.Command {
	step := func(use, short, next string, do func(*certs.Authority) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: exactly(), RunE: func(*cobra.Command, []string) error {
			a, err := authority()
			if err != nil {
				return err
			}
			if err := do(a); err != nil {
				return err
			}
			fmt.Fprintln(c.Out, next)
			return nil
		}}
	}
	return group("rotate", "Replace the authority, in three steps, while components run",
		step("begin", "Make the next authority, trusted beside the one that signs", "Bring ca.pem to every host, then: micro certs rotate switch", (*certs.Authority).Begin),
		step("switch", "Have the next authority sign from now on", "Issue every component's certificate again, bring them to the hosts, then: micro certs rotate end", (*certs.Authority).Switch),
		step("end", "End the trust in the old authority", "Bring ca.pem to every host: the old authority is trusted no more.", (*certs.Authority).End))
}
