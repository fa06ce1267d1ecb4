package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/terminal"
	configpb "github.com/micro/platform/proto/config"
)

func configCommand(c *cli) *cobra.Command {
	return group("config", "Read and change the settings of the namespace",
		getConfigCommand(c), setConfigCommand(c), delConfigCommand(c),
		watchConfigCommand(c), historyCommand(c), rollbackCommand(c), rekeyCommand(c))
}

func (x *client) config() configpb.ConfigClient { return configpb.NewConfigClient(x.Conn) }

func secretFlag(cmd *cobra.Command, help string) *configpb.Options {
	var o configpb.Options
	cmd.Flags().BoolVarP(&o.Secret, "secret", "s", false, help)
	return &o
}

func getConfigCommand(c *cli) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "get PATH", Short: "Print a value",
		Example: "  micro config get mail.host\n  micro config get --all",
		Args:    cobra.MaximumNArgs(1),
	}
	o := secretFlag(cmd, "print secrets as they are")
	cmd.Flags().BoolVar(&all, "all", false, "print all settings; with no PATH")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		path := strings.Join(args, "")
		if path == "" && !all {
			return usage("missing argument: PATH (usage: %s, or --all)", cmd.UseLine())
		}
		rsp, err := x.config().Get(ctx, &configpb.GetRequest{Namespace: x.Namespace, Path: path, Options: o})
		data := rsp.GetValue().GetData()
		if errors.Code(err) == codes.NotFound || err == nil && (data == "" || data == "null") {
			fmt.Fprintln(c.Out, "Not found") // where scripts look for it
			return fail(exitFailed, "path %q: nothing is set", path)
		}
		if err != nil {
			return err
		}
		c.printSetting(data)
		return nil
	})
	return cmd
}

// printSetting prints JSON without the quotes of a string, as scripts know it.
func (c *cli) printSetting(data string) {
	if len(data) > 1 && strings.HasPrefix(data, `"`) {
		data = data[1 : len(data)-1]
	}
	fmt.Fprintln(c.Out, terminal.Inert(data))
}

func setConfigCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "set PATH VALUE", Short: "Set a value",
		Long: `Sets a value: JSON, or text where it is none. An object is merged into what is there.`,
		Example: `  micro config set mail.host mail.example.com
  micro config set mail '{"port":587,"tls":true}'
  micro config set --secret mail.password hunter2`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) < 2:
				return fail(exitFailed, "Missing path or value")
			case len(args) > 2:
				return usage("unexpected argument %q: quote a value that has spaces", args[2])
			}
			return nil
		},
	}
	o := secretFlag(cmd, "keep it as a secret")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		data := args[1]
		if !json.Valid([]byte(data)) {
			text, err := json.Marshal(data)
			if err != nil {
				return err
			}
			data = string(text)
		}
		_, err := x.config().Set(ctx, &configpb.SetRequest{Namespace: x.Namespace, Path: args[0], Value: &configpb.Value{Data: data}, Options: o})
		return err
	})
	return cmd
}

func delConfigCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "del PATH", Short: "Delete a value and everything below it", Args: exactly("PATH"),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			if args[0] == "" {
				return usage("PATH is empty, which would delete all settings")
			}
			_, err := x.config().Delete(ctx, &configpb.DeleteRequest{Namespace: x.Namespace, Path: args[0]})
			return err
		}),
	}
}

func watchConfigCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "watch [PATH]", Short: "Print a value, and again whenever it changes", Args: cobra.MaximumNArgs(1),
	}
	o := secretFlag(cmd, "print secrets as they are")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s, err := x.config().Watch(ctx, &configpb.WatchRequest{Namespace: x.Namespace, Path: strings.Join(args, ""), Options: o})
		if err != nil {
			return err
		}
		for {
			rsp, err := s.Recv()
			if err != nil {
				return err
			}
			c.printSetting(rsp.GetValue().GetData())
		}
	})
	return cmd
}

// settingsVersion is a version as it is listed.
type settingsVersion struct {
	Version  int64     `json:"version"`
	Action   string    `json:"action"`
	Path     string    `json:"path,omitempty"`
	Restored int64     `json:"restored,omitempty"`
	Account  string    `json:"account"`
	Name     string    `json:"name,omitempty"`
	Created  time.Time `json:"created"`
}

func historyCommand(c *cli) *cobra.Command {
	var limit int64
	cmd := &cobra.Command{Use: "history", Short: "List the versions of the settings: who changed what, and when", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.Flags().Int64VarP(&limit, "limit", "n", 0, "`number` of versions to list, the newest first")
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := x.config().History(ctx, &configpb.HistoryRequest{Namespace: x.Namespace, Limit: limit})
		if err != nil {
			return err
		}
		all := []settingsVersion{}
		rows := [][]string{{"VERSION", "CREATED", "ACCOUNT", "ACTION", "PATH"}}
		for _, v := range rsp.GetVersions() {
			at := time.Unix(v.GetCreated(), 0).UTC()
			all = append(all, settingsVersion{v.GetVersion(), v.GetAction(), v.GetPath(), v.GetRestored(), v.GetAccount(), v.GetAccountName(), at})
			action := v.GetAction()
			if v.GetRestored() > 0 {
				action += " to " + strconv.FormatInt(v.GetRestored(), 10)
			}
			name := v.GetAccountName()
			if name == "" {
				name = v.GetAccount()
			}
			rows = append(rows, []string{strconv.FormatInt(v.GetVersion(), 10), at.Format(time.DateTime), name, action, v.GetPath()})
		}
		if inJSON {
			return c.JSON(all)
		}
		return c.Table(rows)
	})
	return cmd
}

func rollbackCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "rollback VERSION", Short: "Restore the settings of a version, including secrets", Args: exactly("VERSION")}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		version, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || version < 1 {
			return usage("VERSION is %q: \"micro config history\" lists the numbers", args[0])
		}
		rsp, err := x.config().Rollback(ctx, &configpb.RollbackRequest{Namespace: x.Namespace, Version: version})
		if err != nil {
			return err
		}
		if inJSON {
			return c.JSON(map[string]int64{"version": rsp.GetVersion(), "restored": version})
		}
		fmt.Fprintf(c.Err, "Version %d is as version %d was\n", rsp.GetVersion(), version)
		return nil
	})
	return cmd
}

func rekeyCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "rekey", Short: "Encrypt the secrets of all namespaces with a new key (operators)", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		n := int64(0)
		for more := true; more; {
			rsp, err := x.config().Rekey(ctx, &configpb.RekeyRequest{})
			if err != nil {
				return err
			}
			n += rsp.GetSecrets()
			if more = rsp.GetMore(); more {
				fmt.Fprintf(c.Err, "%d secrets are encrypted with a new key, going on\n", n)
			}
		}
		if inJSON {
			return c.JSON(map[string]int64{"secrets": n})
		}
		fmt.Fprintf(c.Err, "%d secrets are encrypted with a new key, the old one is gone\n", n)
		return nil
	})
	return cmd
}
