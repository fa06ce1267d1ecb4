package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// signup is what a person tells to get a namespace.
type signup struct {
	email, code, namespace string
	password               password
}

func signupCommand(c *cli) *cobra.Command {
	var s signup
	cmd := &cobra.Command{
		Use:   "signup",
		Short: "Create an account and a namespace",
		Long: `Makes an account. A code is sent to your email address; with it you choose a
password and the name of your namespace, where your services will run.

What is not given as a flag is asked for. With --code no new code is sent.`,
		Example: `  micro signup
  micro signup --email jane@example.com --password-stdin --namespace jane`,
		Args: exactly(),
		RunE: c.with(func(ctx context.Context, x *client, _ []string) error { return c.signup(ctx, x, &s) }),
	}
	f := cmd.Flags()
	f.StringVar(&s.email, "email", "", "your email address")
	f.StringVar(&s.code, "code", "", "the code that was sent to it")
	f.StringVar(&s.namespace, "namespace", "", "name of the namespace: 3 to 31 lower-case letters, digits and hyphens")
	s.password.flags(cmd)
	return cmd
}

func (c *cli) signup(ctx context.Context, x *client, s *signup) error {
	server := namespacespb.NewSignupClient(x.Conn)
	var err error
	if s.email, err = c.given(ctx, s.email, "Email address: ", "--email"); err != nil {
		return err
	}
	if s.password.stdin { // before anything else is read from there
		if _, err := s.password.get(ctx, c, ""); err != nil {
			return err
		}
	}
	proposal, err := c.confirm(ctx, server, s)
	if err != nil {
		return err
	}
	secret, err := c.newPassword(ctx, &s.password, "Choose a password: ")
	if err != nil {
		return err
	}
	made, err := c.complete(ctx, server, s, secret, proposal)
	if err != nil {
		return err
	}
	if err := c.login(ctx, x, made.GetAccount(), secret, made.GetNamespace()); err != nil {
		reason, code := x.Explain(err)
		return fail(code, "your namespace %s is made, but logging in failed (%s): run \"micro login\"", made.GetNamespace(), reason)
	}
	fmt.Fprintf(c.Out, "Signed up: namespace %s, account %s. You are logged in.\n\nNext:\n  micro new helloworld\n  micro run ./helloworld\n",
		made.GetNamespace(), made.GetAccount())
	return nil
}

// confirm sends a code, unless there is one, checks it, and answers the name
// that the server proposes for the namespace.
func (c *cli) confirm(ctx context.Context, server namespacespb.SignupClient, s *signup) (string, error) {
	ask := s.code == ""
	if ask {
		sent, err := server.Begin(ctx, &namespacespb.BeginRequest{Email: s.email})
		if err != nil {
			return "", err
		}
		fmt.Fprintf(c.Err, "A code was sent to %s. It is good for %d minutes.\n", s.email, sent.GetExpiresIn()/60)
	}
	for {
		if ask {
			var err error
			if s.code, err = c.Ask(ctx, "Code: "); err != nil || s.code == "" {
				return "", usage("no code was entered: when the mail is there, run \"micro signup --email %s --code CODE\"", s.email)
			}
		}
		rsp, err := server.Verify(ctx, &namespacespb.VerifyRequest{Email: s.email, Code: s.code})
		if err == nil {
			return rsp.GetProposal(), nil
		}
		if !ask || !c.Interactive() || errors.Code(err) != codes.InvalidArgument {
			return "", err
		}
		fmt.Fprintln(c.Err, errors.FromError(err).Detail)
	}
}

// complete makes the namespace. A person whose name was taken or not allowed
// may choose another.
func (c *cli) complete(ctx context.Context, server namespacespb.SignupClient, s *signup, secret, proposal string) (*namespacespb.CompleteResponse, error) {
	ask := s.namespace == "" && c.Interactive()
	for {
		name := s.namespace
		if ask {
			var err error
			if name, err = c.Ask(ctx, fmt.Sprintf("Name of your namespace [%s]: ", proposal)); err != nil {
				return nil, usage("no name was entered: use --namespace")
			}
		}
		if name == "" {
			name = proposal
		}
		rsp, err := server.Complete(ctx, &namespacespb.CompleteRequest{Email: s.email, Code: s.code, Password: secret, Namespace: name})
		if err == nil || !ask || errors.Code(err) != codes.AlreadyExists && errors.Code(err) != codes.InvalidArgument {
			return rsp, err
		}
		fmt.Fprintln(c.Err, errors.FromError(err).Detail)
	}
}

// newPassword takes a password that is going to be set. A person types it
// twice.
func (c *cli) newPassword(ctx context.Context, p *password, question string) (string, error) {
	asked := p.value == "" && !p.stdin && c.Interactive()
	for {
		first, err := p.get(ctx, c, question)
		if err != nil || !asked {
			return first, err
		}
		second, err := c.AskSecret(ctx, "Verify your password: ")
		if err != nil {
			return "", err
		}
		if first == second {
			return first, nil
		}
		fmt.Fprintln(c.Err, "The passwords are not the same, try again.")
		p.value = ""
	}
}
