package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	authpb "github.com/micro/platform/proto/auth"
)

// linked is an account elsewhere as it is printed.
type linked struct {
	ID       string     `json:"id"`
	Provider string     `json:"provider"`
	Email    string     `json:"email"`
	Created  *time.Time `json:"created"`
	LastUsed *time.Time `json:"last_used"`
}

// linksCommand is about the accounts elsewhere by which a person signs in. They
// are linked in the console.
func linksCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the GitHub and Google accounts that sign you in", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := authpb.NewProvidersClient(x.Conn).Links(ctx, &authpb.ListLinksRequest{})
		if err != nil {
			return err
		}
		all := make([]linked, 0, len(rsp.GetLinks()))
		rows := [][]string{{"ID", "Provider", "Email", "Last used"}}
		for _, l := range rsp.GetLinks() {
			all = append(all, linked{l.GetId(), l.GetProvider(), l.GetEmail(), moment(l.GetCreated()), moment(l.GetLastUsed())})
			rows = append(rows, []string{l.GetId(), l.GetProvider(), l.GetEmail(), day(l.GetLastUsed())})
		}
		if inJSON {
			return c.JSON(all)
		}
		return c.Table(rows)
	})
	return group("links", "Manage the GitHub and Google accounts that sign you in", cmd, &cobra.Command{
		Use: "remove ID", Short: "Unlink such an account", Args: exactly("ID"),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			_, err := authpb.NewProvidersClient(x.Conn).Unlink(ctx, &authpb.UnlinkRequest{Id: args[0]})
			return err
		}),
	})
}

// passkeysCommand is about passkeys, which are registered in the console.
func passkeysCommand(c *cli) *cobra.Command {
	var p password
	remove := &cobra.Command{
		Use: "remove ID", Short: "Remove a passkey", Args: exactly("ID"),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			secret, err := p.get(ctx, c, "Your password: ")
			if err != nil {
				return err
			}
			_, err = authpb.NewPasskeysClient(x.Conn).Remove(ctx, &authpb.RemovePasskeyRequest{Id: args[0], Password: secret})
			return err
		}),
	}
	p.flags(remove)
	return group("passkeys", "Manage your passkeys", listPasskeysCommand(c), remove)
}

// passkey is one as it is printed.
type passkey struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Created  *time.Time `json:"created"`
	LastUsed *time.Time `json:"last_used"`
}

func listPasskeysCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List your passkeys", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := authpb.NewPasskeysClient(x.Conn).List(ctx, &authpb.ListPasskeysRequest{})
		if err != nil {
			return err
		}
		all := make([]passkey, 0, len(rsp.GetPasskeys()))
		rows := [][]string{{"ID", "Name", "Registered", "Last used"}}
		for _, k := range rsp.GetPasskeys() {
			all = append(all, passkey{k.GetId(), k.GetName(), moment(k.GetCreated()), moment(k.GetLastUsed())})
			rows = append(rows, []string{k.GetId(), k.GetName(), day(k.GetCreated()), day(k.GetLastUsed())})
		}
		if inJSON {
			return c.JSON(all)
		}
		return c.Table(rows)
	})
	return cmd
}
