package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	authpb "github.com/micro/platform/proto/auth"
)

func tokenCommand(c *cli) *cobra.Command {
	return group("token", "Manage API tokens, for programs that act for you",
		createAPITokenCommand(c), listAPITokensCommand(c),
		&cobra.Command{
			Use: "revoke NAME|ID", Short: "Revoke an API token; it stops working everywhere within a second", Args: exactly("NAME"),
			RunE: c.with(func(ctx context.Context, x *client, args []string) error {
				_, err := authpb.NewTokensClient(x.Conn).Revoke(ctx, &authpb.RevokeTokenRequest{Id: args[0], Options: x.authOptions()})
				return err
			}),
		})
}

// apiToken is an API token as it is printed.
type apiToken struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Account  string     `json:"account"`
	Grants   []string   `json:"grants"`
	Created  time.Time  `json:"created"`
	Expires  *time.Time `json:"expires"`
	LastUsed *time.Time `json:"last_used"`
	Secret   string     `json:"secret,omitempty"`
}

func apiTokenOf(t *authpb.ApiToken) apiToken {
	return apiToken{ID: t.GetId(), Name: t.GetName(), Account: t.GetAccount(), Grants: t.GetGrants(),
		Created: time.Unix(t.GetCreated(), 0).UTC(), Expires: moment(t.GetExpires()), LastUsed: moment(t.GetLastUsed())}
}

// moment is nil for never.
func moment(unix int64) *time.Time {
	if unix == 0 {
		return nil
	}
	t := time.Unix(unix, 0).UTC()
	return &t
}

func createAPITokenCommand(c *cli) *cobra.Command {
	var expires string
	req := &authpb.CreateTokenRequest{}
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create an API token; it is shown only once", Args: exactly("NAME"),
		Long: `Creates a token with which a program acts as you, within what is granted. It works
wherever an access token does: in MICRO_TOKEN, or as "Authorization: Bearer".

A grant is service:endpoint:access. Service and endpoint are names or *, an endpoint may
be Handler.*; the platform's own services (store, runtime, ...) are called as everywhere.
Access is read or write, and write includes read. Of your services' endpoints those read
whose names begin with Get, List, Read, Find, Search, Query, Count, Show, Describe or Watch.`,
		Example: `  micro auth token create website --grant notes:Notes.List:read
  micro auth token create ci --grant 'runtime:*:write' --grant 'registry:*:read' --expires 30d`,
	}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		if len(req.GetGrants()) == 0 {
			return usage("--grant is needed, such as --grant 'notes:*:read'")
		}
		if expires != "" {
			life, err := parseLife(expires)
			if err != nil {
				return err
			}
			req.ExpiresIn = int64(life / time.Second)
		}
		req.Name = args[0]
		rsp, err := authpb.NewTokensClient(x.Conn).Create(ctx, req)
		if err != nil {
			return err
		}
		if inJSON {
			made := apiTokenOf(rsp.GetToken())
			made.Secret = rsp.GetSecret()
			return c.JSON(made)
		}
		fmt.Fprintf(c.Err, "API token %s, good until %s. It is not shown again:\n", args[0], until(rsp.GetToken().GetExpires()))
		fmt.Fprintln(c.Out, rsp.GetSecret())
		return nil
	})
	f := cmd.Flags()
	f.StringArrayVar(&req.Grants, "grant", nil, "what it may do: `service:endpoint:access` (repeatable)")
	f.StringVar(&expires, "expires", "", "`lifetime` of the token: 12h, 30d (default 90d, at most 365d)")
	f.BoolVar(&req.NeverExpires, "never-expires", false, "valid until it is revoked")
	return cmd
}

// parseLife reads a duration that may be in days.
func parseLife(s string) (time.Duration, error) {
	var life time.Duration
	days, err := strconv.Atoi(strings.TrimSuffix(s, "d"))
	if strings.HasSuffix(s, "d") && err == nil && days <= 10_000 {
		life = time.Duration(days) * 24 * time.Hour
	} else if life, err = time.ParseDuration(s); err != nil {
		return 0, usage("--expires is %q: 12h and 30d are possible", s)
	}
	if life < time.Second {
		return 0, usage("--expires is %q: it must be a second or more", s)
	}
	return life, nil
}

func until(unix int64) string {
	if t := moment(unix); t != nil {
		return t.Format(time.DateOnly)
	}
	return "it is revoked"
}

func listAPITokensCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List your API tokens; admins see all of the namespace", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := authpb.NewTokensClient(x.Conn).List(ctx, &authpb.ListTokensRequest{Options: x.authOptions()})
		if err != nil {
			return err
		}
		all := make([]apiToken, 0, len(rsp.GetTokens()))
		rows := [][]string{{"ID", "Name", "Account", "Grants", "Expires", "Last used"}}
		for _, t := range rsp.GetTokens() {
			all = append(all, apiTokenOf(t))
			rows = append(rows, []string{t.GetId(), t.GetName(), t.GetAccount(), strings.Join(t.GetGrants(), " "),
				day(t.GetExpires()), day(t.GetLastUsed())})
		}
		if inJSON {
			return c.JSON(all)
		}
		return c.Table(rows)
	})
	return cmd
}

func day(unix int64) string {
	if t := moment(unix); t != nil {
		return t.Format(time.DateOnly)
	}
	return "never"
}

func sessionsCommand(c *cli) *cobra.Command {
	var others bool
	revoke := &cobra.Command{
		Use: "revoke [ID]", Short: "Log out one of your sessions, or all others", Args: atMost(1),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			req := &authpb.RevokeSessionRequest{Others: others, Id: cmp.Or(append(args, "")...)}
			if others == (req.GetId() != "") {
				return usage("an ID is needed, or --others")
			}
			_, err := authpb.NewSessionsClient(x.Conn).Revoke(ctx, req)
			return err
		}),
	}
	revoke.Flags().BoolVar(&others, "others", false, "all sessions but the current one")
	return group("sessions", "Manage your logins", listSessionsCommand(c), revoke)
}

// session is a login as it is printed.
type session struct {
	ID      string    `json:"id"`
	Current bool      `json:"current"`
	Created time.Time `json:"created"`
	Renewed time.Time `json:"renewed"`
	Expires time.Time `json:"expires"`
}

func listSessionsCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List your sessions", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := authpb.NewSessionsClient(x.Conn).List(ctx, &authpb.ListSessionsRequest{})
		if err != nil {
			return err
		}
		all := make([]session, 0, len(rsp.GetSessions()))
		rows := [][]string{{"ID", "Login", "Last renewed", "Ends", ""}}
		for _, s := range rsp.GetSessions() {
			one := session{s.GetId(), s.GetCurrent(), time.Unix(s.GetCreated(), 0).UTC(), time.Unix(s.GetRenewed(), 0).UTC(), time.Unix(s.GetExpires(), 0).UTC()}
			all = append(all, one)
			mark := ""
			if one.Current {
				mark = "this one"
			}
			rows = append(rows, []string{one.ID, one.Created.Format(time.DateTime), one.Renewed.Format(time.DateTime), one.Expires.Format(time.DateOnly), mark})
		}
		if inJSON {
			return c.JSON(all)
		}
		return c.Table(rows)
	})
	return cmd
}
