package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/micro/platform/framework/errors"
	usagepb "github.com/micro/platform/proto/usage"
)

// usageQuery is what the flags of `micro usage` say.
type usageQuery struct {
	from, to, service, output string
	by                        []string
	export                    bool
}

func usageCommand(c *cli) *cobra.Command {
	q := usageQuery{}
	cmd := &cobra.Command{
		Use: "usage", Short: "Show what the namespace has used", Args: exactly(),
		Long: `Shows calls, bytes, containers, builds and what is kept, of this month so far or of
the days that are named, which are days of UTC. Refused calls cost nothing.
--export prints every row that the figures are made of.`,
		Example: "  micro usage --by day,service\n  micro usage --from 2026-11-01 --to 2026-11-30 --by member\n  micro usage --export -o csv > november.csv",
	}
	f := cmd.Flags()
	f.StringVar(&q.from, "from", "", "first `day`, 2006-01-02 (default: the first of this month)")
	f.StringVar(&q.to, "to", "", "last `day` (default: today)")
	f.StringVar(&q.service, "service", "", "only this service `NAME`")
	f.StringSliceVar(&q.by, "by", []string{"service"}, "group by `WHAT`: day, service, endpoint, member, class, comma-separated, or none")
	f.BoolVar(&q.export, "export", false, "print every row, unaggregated, as CSV or JSON")
	f.StringVarP(&q.output, "output", "o", "table", "table, json or csv")
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		if !slices.Contains([]string{"table", "json", "csv"}, q.output) {
			return usage("--output is %q: table, json and csv are possible", q.output)
		}
		if q.export && q.service != "" {
			return usage("--export is of all services: leave out --service")
		}
		if slices.Equal(q.by, []string{"none"}) {
			q.by = nil
		}
		api := usagepb.NewUsageClient(x.Conn)
		if q.export {
			return c.exportUsage(ctx, api, x.Namespace, q)
		}
		rsp, err := api.Read(ctx, &usagepb.ReadRequest{Namespace: x.Namespace, From: q.from, To: q.to, By: q.by, Service: q.service})
		if err != nil {
			return err
		}
		switch q.output {
		case "json":
			return c.protoJSON(rsp)
		case "csv":
			return c.usageCSV(slices.Values(rsp.GetRows()))
		}
		return c.usageTable(rsp, q.by)
	})
	return cmd
}

// usageColumn is a figure of a row, or what the row is of.
type usageColumn struct {
	name, title string
	text        func(*usagepb.Row) string
}

func figure(name, title string, of func(*usagepb.Row) int64) usageColumn {
	return usageColumn{name, title, func(r *usagepb.Row) string { return strconv.FormatInt(of(r), 10) }}
}

// usageKeys are what rows are of, usageFigures what was used.
var (
	usageKeys = []usageColumn{
		{"day", "DAY", (*usagepb.Row).GetDay},
		{"service", "SERVICE", (*usagepb.Row).GetService},
		{"endpoint", "ENDPOINT", (*usagepb.Row).GetEndpoint},
		{"member", "MEMBER", (*usagepb.Row).GetMember},
		{"class", "CLASS", (*usagepb.Row).GetClass},
	}
	usageFigures = []usageColumn{
		figure("calls", "CALLS", (*usagepb.Row).GetCalls),
		figure("refused", "REFUSED", (*usagepb.Row).GetRefused),
		figure("bytes_in", "BYTES IN", (*usagepb.Row).GetBytesIn),
		figure("bytes_out", "BYTES OUT", (*usagepb.Row).GetBytesOut),
		figure("cpu_milli_seconds", "CPU MS", (*usagepb.Row).GetCpuMilliSeconds),
		figure("memory_mib_seconds", "MEMORY MIB S", (*usagepb.Row).GetMemoryMibSeconds),
		figure("egress_bytes", "EGRESS", (*usagepb.Row).GetEgressBytes),
		figure("stored_byte_hours", "STORED BYTE H", (*usagepb.Row).GetStoredByteHours),
		figure("build_seconds", "BUILD S", (*usagepb.Row).GetBuildSeconds),
	}
)

// usageTable prints sums, without the figures that are nothing everywhere.
func (c *cli) usageTable(rsp *usagepb.ReadResponse, by []string) error {
	columns := slices.DeleteFunc(slices.Clone(usageKeys), func(k usageColumn) bool { return !slices.Contains(by, k.name) })
	keys := len(columns)
	columns = append(columns, slices.DeleteFunc(slices.Clone(usageFigures), func(f usageColumn) bool {
		return f.text(rsp.GetTotal()) == "0" && f.name != "calls"
	})...)
	var title []string
	for _, k := range columns {
		title = append(title, k.title)
	}
	rows := [][]string{title}
	for _, r := range rsp.GetRows() {
		rows = append(rows, cells(columns, r, absent))
	}
	if keys > 0 {
		total := cells(columns, rsp.GetTotal(), "")
		total[0] = "total"
		rows = append(rows, total)
	}
	return c.Table(rows)
}

func cells(columns []usageColumn, r *usagepb.Row, empty string) []string {
	var out []string
	for _, k := range columns {
		text := k.text(r)
		if text == "" {
			text = empty
		}
		out = append(out, text)
	}
	return out
}

// exportUsage prints rows as they come: lines of JSON, or CSV.
func (c *cli) exportUsage(ctx context.Context, api usagepb.UsageClient, namespace string, q usageQuery) error {
	stream, err := api.Export(ctx, &usagepb.ExportRequest{Namespace: namespace, From: q.from, To: q.to})
	if err != nil {
		return err
	}
	var failed error
	rows := func(yield func(*usagepb.Row) bool) {
		for {
			r, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				failed = err
				return
			}
			if !yield(r) {
				return
			}
		}
	}
	if q.output == "json" {
		out := json.NewEncoder(c.Out)
		for r := range rows {
			b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(r)
			if err != nil {
				return err
			}
			if err := out.Encode(json.RawMessage(b)); err != nil {
				return err
			}
		}
		return failed
	}
	err = c.usageCSV(rows)
	return errors.Join(failed, err)
}

// usageCSV prints rows with all columns, whatever they are grouped by.
func (c *cli) usageCSV(rows func(func(*usagepb.Row) bool)) error {
	columns := append(slices.Clone(usageKeys), usageFigures...)
	w := csv.NewWriter(c.Out)
	var head []string
	for _, k := range columns {
		head = append(head, k.name)
	}
	if err := w.Write(head); err != nil {
		return err
	}
	for r := range rows {
		if err := w.Write(cells(columns, r, "")); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}
