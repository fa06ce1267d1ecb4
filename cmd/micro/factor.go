package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	authpb "github.com/micro/platform/proto/auth"
)

func factorCommand(c *cli) *cobra.Command {
	return group("2fa", "Manage your second factor, an authenticator",
		factorStatusCommand(c), enableFactorCommand(c), disableFactorCommand(c),
		&cobra.Command{
			Use: "recover CODE", Short: "Replace the recovery codes with new ones", Args: exactly("CODE"),
			RunE: c.with(func(ctx context.Context, x *client, args []string) error {
				rsp, err := authpb.NewFactorsClient(x.Conn).Recover(ctx, &authpb.RecoverRequest{Code: args[0]})
				if err == nil {
					c.printRecoveryCodes(rsp.GetRecoveryCodes())
				}
				return err
			}),
		})
}

func factorStatusCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show whether you have a second factor", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := authpb.NewFactorsClient(x.Conn).Get(ctx, &authpb.GetFactorsRequest{})
		if err != nil {
			return err
		}
		if inJSON {
			return c.JSON(map[string]any{"enrolled": rsp.GetEnrolled(), "authenticator": rsp.GetAuthenticator(), "since": moment(rsp.GetSince()), "recovery_codes": rsp.GetRecoveryCodes(), "required": rsp.GetRequired()})
		}
		return c.Table([][]string{
			{"enrolled:", fmt.Sprint(rsp.GetEnrolled())}, {"authenticator:", fmt.Sprint(rsp.GetAuthenticator())}, {"since:", day(rsp.GetSince())},
			{"recovery codes:", fmt.Sprint(rsp.GetRecoveryCodes())}, {"required here:", fmt.Sprint(rsp.GetRequired())},
		})
	})
	return cmd
}

func enableFactorCommand(c *cli) *cobra.Command {
	var p password
	cmd := &cobra.Command{
		Use: "enable", Short: "Set up a second factor", Args: exactly(),
		Long: `Sets up a second factor. What is printed first goes into an authenticator, then a
code of that is asked for. Recovery codes are for when the authenticator is lost: each
is good once, and they are not shown again.`,
		RunE: c.with(func(ctx context.Context, x *client, _ []string) error {
			secret, err := p.get(ctx, c, "Your password: ")
			if err != nil {
				return err
			}
			api := authpb.NewFactorsClient(x.Conn)
			made, err := api.Enrol(ctx, &authpb.EnrolRequest{Password: secret})
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Out, "%s\n\nSecret, to be typed: %s\n", made.GetUrl(), made.GetSecret())
			code, err := c.Ask(ctx, "Code of your authenticator: ")
			if err != nil {
				return usage("no code was entered: begin again")
			}
			rsp, err := api.Confirm(ctx, &authpb.ConfirmRequest{Code: code})
			if err != nil {
				return err
			}
			c.printRecoveryCodes(rsp.GetRecoveryCodes())
			return c.change(ctx, x, x.login.Namespace) // with what the second factor allows
		}),
	}
	p.flags(cmd)
	return cmd
}

func (c *cli) printRecoveryCodes(list []string) {
	fmt.Fprintln(c.Out, "Recovery codes, each good once. They are not shown again:")
	for _, code := range list {
		fmt.Fprintln(c.Out, "  "+code)
	}
}

func disableFactorCommand(c *cli) *cobra.Command {
	var p password
	var code string
	cmd := &cobra.Command{
		Use: "disable", Short: "Turn your second factor off", Args: exactly(),
		RunE: c.with(func(ctx context.Context, x *client, _ []string) error {
			secret, err := p.get(ctx, c, "Your password: ")
			if err != nil {
				return err
			}
			if code, err = c.given(ctx, code, "Code of your authenticator, or a recovery code: ", "--code"); err != nil {
				return err
			}
			_, err = authpb.NewFactorsClient(x.Conn).Remove(ctx, &authpb.RemoveFactorRequest{Password: secret, Code: code})
			return err
		}),
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&code, "code", "", "code of your authenticator, or a recovery code")
	return cmd
}
