package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	authpb "github.com/micro/platform/proto/auth"
)

func keysCommand(c *cli) *cobra.Command {
	return group("keys", "Manage the keys that tokens are signed with, for operators",
		listKeysCommand(c), rotateKeyCommand(c),
		&cobra.Command{
			Use: "retire ID", Short: "Retire a signing key; every token signed with it ends, also those of running services", Args: exactly("ID"),
			RunE: c.with(func(ctx context.Context, x *client, args []string) error {
				_, err := authpb.NewKeysClient(x.Conn).Retire(ctx, &authpb.RetireKeyRequest{Id: args[0]})
				return err
			}),
		})
}

// key is a signing key as it is printed.
type key struct {
	ID        string     `json:"id"`
	State     string     `json:"state"`
	Created   time.Time  `json:"created"`
	SignsFrom *time.Time `json:"signs_from,omitempty"`
	Expires   *time.Time `json:"expires,omitempty"`
}

func keyOf(k *authpb.Key) key {
	out := key{ID: k.GetId(), State: "verifies", Created: time.Unix(k.GetCreated(), 0).UTC(), SignsFrom: moment(k.GetSignsFrom()), Expires: moment(k.GetExpires())}
	switch {
	case k.GetSigns():
		out.State = "signs"
	case out.SignsFrom != nil:
		out.State = "next"
	}
	return out
}

func listKeysCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the valid signing keys", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := authpb.NewKeysClient(x.Conn).List(ctx, &authpb.ListKeysRequest{})
		if err != nil {
			return err
		}
		all := make([]key, 0, len(rsp.GetKeys()))
		rows := [][]string{{"ID", "State", "Created", "Until"}}
		for _, k := range rsp.GetKeys() {
			one := keyOf(k)
			all = append(all, one)
			last := absent
			if one.Expires != nil {
				last = one.Expires.Format(time.DateOnly)
			}
			rows = append(rows, []string{one.ID, one.State, one.Created.Format(time.DateTime), last})
		}
		if inJSON {
			return c.JSON(all)
		}
		return c.Table(rows)
	})
	return cmd
}

func rotateKeyCommand(c *cli) *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use: "rotate", Short: "Sign with a new key; tokens in use stay valid", Args: exactly(),
		RunE: c.with(func(ctx context.Context, x *client, _ []string) error {
			rsp, err := authpb.NewKeysClient(x.Conn).Rotate(ctx, &authpb.RotateKeyRequest{Now: now})
			if err != nil {
				return err
			}
			k := keyOf(rsp.GetKey())
			if k.SignsFrom == nil {
				fmt.Fprintf(c.Out, "Key %s signs\n", k.ID)
			} else {
				fmt.Fprintf(c.Out, "Key %s signs from %s\n", k.ID, k.SignsFrom.Format(time.DateTime))
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&now, "now", false, "within seconds: the key in use is known to others")
	return cmd
}
