package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	auditpb "github.com/micro/platform/proto/audit"
)

func auditCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who changed what in your namespace, including operators",
		Example: "  micro audit --since 24h\n  micro audit --action 'runtime.*' --account jane@example.com -o json\n  micro audit export > audit.jsonl",
		Args:    exactly(),
	}
	filter := auditFilterFlags(cmd)
	var limit int32
	cmd.Flags().Int32VarP(&limit, "limit", "n", 0, "`number` of entries to list, the latest first (default 100)")
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		f, err := filter()
		if err != nil {
			return err
		}
		rsp, err := x.audit().List(ctx, &auditpb.ListRequest{Namespace: x.Namespace, Filter: f, Limit: limit})
		if err != nil {
			return err
		}
		all := []auditEntry{}
		rows := [][]string{{"TIME", "ACCOUNT", "ACTION", "TARGET", "OUTCOME", "ADDRESS"}}
		for _, e := range rsp.GetEntries() {
			entry := newAuditEntry(e)
			all = append(all, entry)
			rows = append(rows, entry.row())
		}
		if inJSON {
			return c.JSON(all)
		}
		return c.Table(rows)
	})
	cmd.AddCommand(auditExportCommand(c), auditVerifyCommand(c))
	return cmd
}

func auditExportCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "export", Short: "Print the whole log as JSON lines, oldest first", Args: exactly()}
	filter := auditFilterFlags(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		f, err := filter()
		if err != nil {
			return err
		}
		s, err := x.audit().Export(ctx, &auditpb.ExportRequest{Namespace: x.Namespace, Filter: f})
		if err != nil {
			return err
		}
		out := json.NewEncoder(c.Out)
		for {
			e, err := s.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := out.Encode(newAuditEntry(e)); err != nil {
				return err
			}
		}
	})
	return cmd
}

func auditVerifyCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Verify that no entry was changed or removed", Args: exactly(),
		RunE: c.with(func(ctx context.Context, x *client, _ []string) error {
			rsp, err := x.audit().Verify(ctx, &auditpb.VerifyRequest{Namespace: x.Namespace})
			if err != nil {
				return err
			}
			if rsp.GetBroken() > 0 {
				return fail(exitFailed, "row %d is not what was written: ask the server's operator how that could be", rsp.GetBroken())
			}
			fmt.Fprintf(c.Out, "%d rows, as they were written, up to %s\n", rsp.GetRows(), rsp.GetHash())
			return nil
		}),
	}
}

// auditFilterFlags adds the flags that leave out entries. The function that it
// answers reads them.
func auditFilterFlags(cmd *cobra.Command) func() (*auditpb.Filter, error) {
	var f auditpb.Filter
	var since, until string
	flags := cmd.Flags()
	flags.StringVar(&f.Account, "account", "", "only what this `account` did")
	flags.StringVar(&f.Action, "action", "", "only this `action`, such as runtime.Runtime.Create or 'runtime.*'")
	flags.StringVar(&f.Target, "target", "", "only what was done to this `name`, path or id")
	flags.BoolVar(&f.Operator, "operators", false, "only what the server's operators did")
	flags.StringVar(&since, "since", "", "only from this `time` on: how long ago, such as 24h, or 2006-01-02T15:04:05Z")
	flags.StringVar(&until, "until", "", "only before this `time`")
	return func() (*auditpb.Filter, error) {
		for _, at := range []struct {
			text string
			to   *int64
		}{{since, &f.Since}, {until, &f.Until}} {
			unix, err := unixTime(at.text, time.Now())
			if err != nil {
				return nil, err
			}
			*at.to = unix * 1000
		}
		return &f, nil
	}
}

func (x *client) audit() auditpb.AuditClient { return auditpb.NewAuditClient(x.Conn) }

// auditEntry is an entry as it is printed.
type auditEntry struct {
	ID        int64             `json:"id"`
	Time      time.Time         `json:"time"`
	Account   string            `json:"account"`
	Type      string            `json:"account_type"`
	Operator  bool              `json:"operator"`
	Session   string            `json:"session,omitempty"`
	Address   string            `json:"address,omitempty"`
	RequestID string            `json:"request_id,omitempty"`
	Action    string            `json:"action"`
	Target    map[string]string `json:"target,omitempty"`
	Outcome   string            `json:"outcome"`
}

func newAuditEntry(e *auditpb.Entry) auditEntry {
	outcome := e.GetOutcome()
	if outcome == "" {
		outcome = "unknown"
	}
	return auditEntry{
		e.GetId(), time.UnixMilli(e.GetTime()).UTC(), e.GetAccount(), e.GetAccountType(), e.GetOperator(), e.GetSession(),
		e.GetAddress(), e.GetRequestId(), e.GetAction(), e.GetTarget(), outcome,
	}
}

func (e auditEntry) row() []string {
	account := e.Account
	if e.Operator {
		account += " (operator)"
	}
	var target []string
	for _, k := range slices.Sorted(maps.Keys(e.Target)) {
		target = append(target, k[strings.LastIndex(k, ".")+1:]+"="+e.Target[k])
	}
	return []string{e.Time.Format(time.DateTime), account, e.Action, strings.Join(target, " "), e.Outcome, e.Address}
}
