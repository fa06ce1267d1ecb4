package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	authpb "github.com/micro/platform/proto/auth"
)

// reset is what a person tells who has forgotten a password.
type reset struct {
	email, code string
	fresh       password
}

func resetPasswordCommand(c *cli) *cobra.Command {
	var r reset
	cmd := &cobra.Command{
		Use:   "password",
		Short: "Reset a forgotten password with a code sent by mail",
		Long: `Sets a new password for an account whose password was forgotten. A code is sent to the
email address; all logins of the account end when it is used. Ask for a namespace with
--namespace if the account owns none. With --code no new code is sent.`,
		Example: "  micro user reset password --email jane@example.com",
		Args:    exactly(),
		RunE:    c.with(func(ctx context.Context, x *client, _ []string) error { return c.resetPassword(ctx, x, &r) }),
	}
	f := cmd.Flags()
	f.StringVar(&r.email, "email", "", "the account's email address")
	f.StringVar(&r.code, "code", "", "the code that was sent to it")
	f.StringVar(&r.fresh.value, "new-password", "", "new password; other users of this machine may see it, --password-stdin is safer")
	f.BoolVar(&r.fresh.stdin, "password-stdin", false, "read the password from the first line of the standard input")
	return cmd
}

func (c *cli) resetPassword(ctx context.Context, x *client, r *reset) error {
	server, o := authpb.NewPasswordsClient(x.Conn), &authpb.Options{Namespace: c.namespace}
	var err error
	if r.email, err = c.given(ctx, r.email, "Email address: ", "--email"); err != nil {
		return err
	}
	if r.fresh.stdin { // before anything else is read from there
		if _, err := r.fresh.get(ctx, c, ""); err != nil {
			return err
		}
	}
	ask := r.code == ""
	if ask {
		sent, err := server.BeginReset(ctx, &authpb.BeginResetRequest{Id: r.email, Options: o})
		if err != nil {
			return err
		}
		fmt.Fprintf(c.Err, "If %s is an account, a code was sent to it. It is good for %d minutes.\n", r.email, sent.GetExpiresIn()/60)
	}
	for {
		if ask {
			if r.code, err = c.Ask(ctx, "Code: "); err != nil || r.code == "" {
				return usage("no code was entered: when the mail is there, run \"micro user reset password --email %s --code CODE\"", r.email)
			}
		}
		secret, err := c.newPassword(ctx, &r.fresh, "Enter a new password: ")
		if err != nil {
			return err
		}
		_, err = server.Reset(ctx, &authpb.ResetRequest{Id: r.email, Options: o, Code: r.code, NewSecret: secret})
		if err == nil {
			fmt.Fprintln(c.Out, "The password is changed. Log in with \"micro login\".")
			return nil
		}
		if !ask || !c.Interactive() || errors.Code(err) != codes.InvalidArgument {
			return err
		}
		fmt.Fprintln(c.Err, errors.FromError(err).Detail)
		r.fresh.value = ""
	}
}
