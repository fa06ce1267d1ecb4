package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/micro/platform/framework/errors"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

func namespaceCommand(c *cli) *cobra.Command {
	return group("namespace", "Manage your namespaces and their members",
		listNamespacesCommand(c), createNamespaceCommand(c), switchCommand(c, "set NAME"),
		deleteNamespaceCommand(c), undeleteNamespaceCommand(c), namespaceStatusCommand(c),
		membersCommand(c), inviteCommand(c), invitesCommand(c), acceptCommand(c),
		&cobra.Command{
			Use: "resend ID", Short: "Mail an invitation again", Args: exactly("ID"),
			RunE: c.with(func(ctx context.Context, x *client, args []string) error {
				_, err := namespacespb.NewInvitesClient(x.Conn).Resend(ctx, &namespacespb.ResendInviteRequest{Namespace: x.Namespace, Id: args[0]})
				return err
			}),
		},
		&cobra.Command{
			Use: "revoke ID", Short: "End an invitation", Args: exactly("ID"),
			RunE: c.with(func(ctx context.Context, x *client, args []string) error {
				_, err := namespacespb.NewInvitesClient(x.Conn).Revoke(ctx, &namespacespb.RevokeInviteRequest{Namespace: x.Namespace, Id: args[0]})
				return err
			}),
		},
		&cobra.Command{
			Use: "role ACCOUNT ROLE", Short: "Give a member another role: owner, admin, developer, viewer, billing", Args: exactly("ACCOUNT", "ROLE"),
			RunE: c.with(func(ctx context.Context, x *client, args []string) error {
				_, err := namespacespb.NewMembersClient(x.Conn).SetRole(ctx, &namespacespb.SetRoleRequest{Namespace: x.Namespace, Account: args[0], Role: args[1]})
				return err
			}),
		},
		&cobra.Command{
			Use: "remove ACCOUNT", Short: "Remove a member, with its logins and API tokens", Args: exactly("ACCOUNT"),
			RunE: c.with(func(ctx context.Context, x *client, args []string) error {
				_, err := namespacespb.NewMembersClient(x.Conn).Remove(ctx, &namespacespb.RemoveMemberRequest{Namespace: x.Namespace, Account: args[0]})
				return err
			}),
		},
		&cobra.Command{
			Use: "leave NAME", Short: "Leave the current namespace; its name confirms it", Args: exactly("NAME"),
			RunE: c.with(func(ctx context.Context, x *client, args []string) error {
				_, err := namespacespb.NewMembersClient(x.Conn).Leave(ctx, &namespacespb.LeaveRequest{Namespace: args[0]})
				return err
			}),
		},
		transferCommand(c), requireFactorCommand(c),
		exportNamespaceCommand(c), importNamespaceCommand(c))
}

// membership is a namespace as it is printed.
type membership struct {
	Namespace string     `json:"namespace"`
	Role      string     `json:"role"`
	Account   string     `json:"account"`
	Since     *time.Time `json:"since"`
	Current   bool       `json:"current"`
}

func listNamespacesCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the namespaces that you are a member of", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := namespacespb.NewNamespacesClient(x.Conn).List(ctx, &namespacespb.ListNamespacesRequest{})
		if err != nil {
			return err
		}
		all := make([]membership, 0, len(rsp.GetMemberships()))
		rows := [][]string{{"Namespace", "Role", "Account", ""}}
		for _, m := range rsp.GetMemberships() {
			all = append(all, membership{m.GetNamespace(), m.GetRole(), m.GetAccount(), moment(m.GetSince()), m.GetCurrent()})
			rows = append(rows, []string{m.GetNamespace(), cmp.Or(m.GetRole(), absent), m.GetAccount(), map[bool]string{true: "current"}[m.GetCurrent()]})
		}
		if inJSON {
			return c.JSON(all)
		}
		return c.Table(rows)
	})
	return cmd
}

func createNamespaceCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "create NAME", Short: "Create another namespace, and switch to it", Args: exactly("NAME"),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			rsp, err := namespacespb.NewNamespacesClient(x.Conn).Create(ctx, &namespacespb.CreateNamespaceRequest{Name: args[0]})
			if err != nil {
				return err
			}
			if err := c.change(ctx, x, rsp.GetNamespace().GetId()); err != nil {
				return err
			}
			fmt.Fprintf(c.Out, "Namespace %s is made, and is the current one.\n", rsp.GetNamespace().GetId())
			return nil
		}),
	}
}

// switchCommand changes to another namespace. It has two names: "namespace set"
// and, as a verb of the user, "user set namespace".
func switchCommand(c *cli, use string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: "Switch to another of your namespaces", Args: exactly("NAME"),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error { return c.change(ctx, x, args[0]) }),
	}
}

// change obtains a login in another namespace of the same person.
func (c *cli) change(ctx context.Context, x *client, name string) error {
	account, token, err := x.Switch(ctx, name)
	if err != nil {
		return err
	}
	return c.keep(x, account, token)
}

// namespaceMember is a member as it is printed.
type namespaceMember struct {
	Account string     `json:"account"`
	Role    string     `json:"role"`
	Since   *time.Time `json:"since"`
}

func membersCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "members", Short: "List the members", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := namespacespb.NewMembersClient(x.Conn).List(ctx, &namespacespb.ListMembersRequest{Namespace: x.Namespace})
		if err != nil {
			return err
		}
		all := make([]namespaceMember, 0, len(rsp.GetMembers()))
		rows := [][]string{{"Account", "Role", "Since"}}
		for _, m := range rsp.GetMembers() {
			all = append(all, namespaceMember{m.GetAccount(), m.GetRole(), moment(m.GetSince())})
			rows = append(rows, []string{m.GetAccount(), m.GetRole(), day(m.GetSince())})
		}
		if inJSON {
			return c.JSON(all)
		}
		return c.Table(rows)
	})
	return cmd
}

func inviteCommand(c *cli) *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use: "invite EMAIL", Short: "Invite somebody by mail", Args: exactly("EMAIL"),
		Example: "  micro namespace invite jane@example.com --role developer",
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			rsp, err := namespacespb.NewInvitesClient(x.Conn).Create(ctx, &namespacespb.CreateInviteRequest{Namespace: x.Namespace, Email: args[0], Role: role})
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Out, "Invited %s as %s, until %s.\n", rsp.GetInvite().GetEmail(), rsp.GetInvite().GetRole(), day(rsp.GetInvite().GetExpires()))
			return nil
		}),
	}
	cmd.Flags().StringVar(&role, "role", "developer", "owner, admin, developer, viewer or billing")
	return cmd
}

// openInvite is an invitation as it is printed.
type openInvite struct {
	ID        string     `json:"id"`
	Email     string     `json:"email"`
	Role      string     `json:"role"`
	InvitedBy string     `json:"invited_by"`
	Expires   *time.Time `json:"expires"`
}

func invitesCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "invites", Short: "List the invitations that are open", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := namespacespb.NewInvitesClient(x.Conn).List(ctx, &namespacespb.ListInvitesRequest{Namespace: x.Namespace})
		if err != nil {
			return err
		}
		all := make([]openInvite, 0, len(rsp.GetInvites()))
		rows := [][]string{{"ID", "Email", "Role", "Invited by", "Expires"}}
		for _, i := range rsp.GetInvites() {
			all = append(all, openInvite{i.GetId(), i.GetEmail(), i.GetRole(), i.GetInvitedBy(), moment(i.GetExpires())})
			rows = append(rows, []string{i.GetId(), i.GetEmail(), i.GetRole(), i.GetInvitedBy(), day(i.GetExpires())})
		}
		if inJSON {
			return c.JSON(all)
		}
		return c.Table(rows)
	})
	return cmd
}

func acceptCommand(c *cli) *cobra.Command {
	var p password
	cmd := &cobra.Command{
		Use: "accept CODE", Short: "Accept an invitation", Args: exactly("CODE"),
		Long: `Accepts an invitation with the code that was mailed. Who is logged in as the person
who was invited needs nothing else. Others enter the password of their account, or
choose one if they have none.`,
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			api, req := namespacespb.NewInvitesClient(x.Conn), &namespacespb.AcceptInviteRequest{Code: args[0]}
			if !x.LoggedIn() || p.value != "" || p.stdin {
				var err error
				if req.Password, err = p.get(ctx, c, "Your password, or one for your new account: "); err != nil {
					return err
				}
			}
			rsp, err := api.Accept(ctx, req)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Out, "You are %s of namespace %s.\n", rsp.GetRole(), rsp.GetNamespace())
			if req.GetPassword() == "" {
				return c.change(ctx, x, rsp.GetNamespace())
			}
			if err := c.login(ctx, x, rsp.GetAccount(), req.GetPassword(), rsp.GetNamespace()); err != nil {
				return fmt.Errorf("logging in failed (%s): run \"micro login --username %s\"", errors.FromError(err).Detail, rsp.GetAccount())
			}
			return nil
		}),
	}
	p.flags(cmd)
	return cmd
}

func transferCommand(c *cli) *cobra.Command {
	var p password
	cmd := &cobra.Command{
		Use: "transfer ACCOUNT", Short: "Make another member the owner, and yourself an admin", Args: exactly("ACCOUNT"),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			secret, err := p.get(ctx, c, "Your password: ")
			if err != nil {
				return err
			}
			_, err = namespacespb.NewMembersClient(x.Conn).Transfer(ctx, &namespacespb.TransferRequest{Namespace: x.Namespace, Account: args[0], Password: secret})
			return err
		}),
	}
	p.flags(cmd)
	return cmd
}

func requireFactorCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "require-2fa on|off", Short: "Require a second factor of every member, or stop requiring it", Args: exactly("on|off"),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			if args[0] != "on" && args[0] != "off" {
				return usage("%q: on and off are possible", args[0])
			}
			_, err := namespacespb.NewNamespacesClient(x.Conn).Configure(ctx, &namespacespb.ConfigureRequest{Namespace: x.Namespace, RequireSecondFactor: args[0] == "on"})
			return err
		}),
	}
}
