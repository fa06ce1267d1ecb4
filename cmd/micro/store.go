package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/terminal"
	storepb "github.com/micro/platform/proto/store"
)

func storeCommand(c *cli) *cobra.Command {
	return group("store", "Read and write the records of the namespace",
		c.storeRead(), c.storeList(), c.storeWrite(), c.storeDelete(),
		c.storeDatabases(), c.storeTables(), c.storeDrop(), c.storeUsage(), c.storeExport(), c.storeImport(), c.storeBlob(),
	)
}

func (x *client) store() storepb.StoreClient { return storepb.NewStoreClient(x.Conn) }

// tableFlags say where records are.
type tableFlags struct {
	database, table string
}

func (o *tableFlags) add(cmd *cobra.Command) {
	o.addDatabase(cmd)
	cmd.Flags().StringVarP(&o.table, "table", "t", "micro", "table of the records")
}

func (o *tableFlags) addDatabase(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.database, "database", "d", "micro", "namespace of the records, for operators; micro is the current one")
}

// in answers the database to name: the current namespace unless another was
// asked for.
func (o *tableFlags) in(x *client) string {
	if o.database == "micro" || o.database == "" {
		return x.Namespace
	}
	return o.database
}

// listFlags say which records, and how to show them. -o has two meanings for
// the sake of old scripts: with a number it is the offset.
type listFlags struct {
	tableFlags

	prefix, suffix bool
	limit, offset  uint64
	order          string
	output         string
}

func (o *listFlags) add(cmd *cobra.Command) {
	o.tableFlags.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.prefix, "prefix", "p", false, "records whose keys begin with KEY")
	f.BoolVarP(&o.suffix, "suffix", "s", false, "records whose keys end with KEY")
	f.Uint64VarP(&o.limit, "limit", "l", 0, "maximum number of records; 0 is all")
	f.Uint64Var(&o.offset, "offset", 0, "number of records to skip")
	f.StringVar(&o.order, "order", "asc", "asc or desc, by key")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
}

// check answers whether JSON was asked for.
func (o *listFlags) check() (bool, error) {
	if n, err := strconv.ParseUint(o.output, 10, 64); err == nil {
		o.offset, o.output = n, "table"
	}
	if o.order != "asc" && o.order != "desc" {
		return false, usage("--order is %q: asc and desc are possible", o.order)
	}
	if o.output != "table" && o.output != "json" {
		return false, usage("--output is %q: table and json are possible", o.output)
	}
	return o.output == "json", nil
}

func (c *cli) storeRead() *cobra.Command {
	var o listFlags
	var verbose bool
	cmd := &cobra.Command{Use: "read KEY", Short: "Print the value of a key, or of all that begin with it", Args: exactly("KEY")}
	o.add(cmd)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show keys and expiry as well")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := o.check()
		if err != nil {
			return err
		}
		rsp, err := x.store().Read(ctx, &storepb.ReadRequest{Key: args[0], Options: &storepb.ReadOptions{
			Database: o.in(x), Table: o.table, Prefix: o.prefix, Suffix: o.suffix, Limit: o.limit, Offset: o.offset, Order: o.order,
		}})
		if errors.Code(err) == codes.NotFound {
			fmt.Fprintln(c.Out, "Not found") // where scripts look for it
			return fail(exitFailed, "key %q: not found in table %s", args[0], o.table)
		}
		if err != nil {
			return err
		}
		switch {
		case inJSON:
			all := make([]storedRecord, 0, len(rsp.GetRecords()))
			for _, r := range rsp.GetRecords() {
				all = append(all, toStoredRecord(r))
			}
			return c.JSON(all)
		case verbose:
			return c.records(rsp.GetRecords())
		}
		for _, r := range rsp.GetRecords() {
			fmt.Fprintln(c.Out, terminal.Inert(string(r.GetValue())))
		}
		return nil
	})
	return cmd
}

// storedRecord is a record as scripts have it, the expiry in nanoseconds.
type storedRecord struct {
	Key      string         `json:"key"`
	Value    []byte         `json:"value"`
	Metadata map[string]any `json:"metadata"`
	Expiry   time.Duration  `json:"expiry,omitempty"`
	Version  int64          `json:"version"`
}

func toStoredRecord(r *storepb.Record) storedRecord {
	out := storedRecord{Key: r.GetKey(), Value: r.GetValue(), Metadata: map[string]any{}, Expiry: lifetime(r), Version: r.GetVersion()}
	for k, f := range r.GetMetadata() {
		out.Metadata[k] = f.GetValue()
	}
	return out
}

func lifetime(r *storepb.Record) time.Duration {
	if ms := r.GetExpiryMs(); ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return time.Duration(r.GetExpiry()) * time.Second
}

func (c *cli) records(all []*storepb.Record) error {
	rows := [][]string{{"KEY", "VALUE", "EXPIRY"}}
	for _, r := range all {
		rows = append(rows, []string{r.GetKey(), shown(r.GetValue()), fromNow(lifetime(r))})
	}
	return c.Table(rows)
}

// shownBytes is how much of a value is shown that is no text.
const shownBytes = 20

// shown is a value in a table: text as it is, of anything else the beginning.
func shown(value []byte) string {
	if utf8.Valid(value) && !strings.ContainsFunc(string(value), func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }) {
		return string(value)
	}
	return hex.EncodeToString(value[:min(len(value), shownBytes)])
}

// fromNow is how long a record lives, as people say it.
func fromNow(d time.Duration) string {
	if d == 0 {
		return "None"
	}
	for _, u := range []struct {
		name string
		long time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		if n := int64(d / u.long); n == 1 {
			return "1 " + u.name + " from now"
		} else if n > 1 {
			return fmt.Sprintf("%d %ss from now", n, u.name)
		}
	}
	return "now"
}

func (c *cli) storeList() *cobra.Command {
	var o listFlags
	cmd := &cobra.Command{Use: "list [PREFIX]", Short: "List the keys of a table", Args: atMost(1)}
	o.add(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := o.check()
		if err != nil {
			return err
		}
		req := &storepb.ListOptions{Database: o.in(x), Table: o.table, Limit: o.limit, Offset: o.offset, Order: o.order}
		if part := strings.Join(args, ""); o.suffix {
			req.Suffix = part
		} else {
			req.Prefix = part
		}
		keys := []string{}
		err = x.eachKey(ctx, req, func(key string) error {
			if inJSON {
				keys = append(keys, key)
				return nil
			}
			_, err := fmt.Fprintln(c.Out, terminal.OneLine(key))
			return err
		})
		if err != nil || !inJSON {
			return err
		}
		return c.JSON(keys)
	})
	return cmd
}

// eachKey hands over the keys of a table.
func (x *client) eachKey(ctx context.Context, o *storepb.ListOptions, each func(string) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := x.store().List(ctx, &storepb.ListRequest{Options: o})
	if err != nil {
		return err
	}
	for {
		rsp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, key := range rsp.GetKeys() {
			if err := each(key); err != nil {
				return err
			}
		}
	}
}

func (c *cli) storeWrite() *cobra.Command {
	var o tableFlags
	var expiry time.Duration
	var absent bool
	var version int64
	cmd := &cobra.Command{Use: "write KEY VALUE...", Short: "Write a record; values are joined with spaces", Args: func(_ *cobra.Command, args []string) error {
		if len(args) < 2 {
			return usage("missing argument: micro store write KEY VALUE")
		}
		return nil
	}}
	o.add(cmd)
	f := cmd.Flags()
	f.StringVar(&c.env, "env", c.env, "environment to use") // -e is another's here
	f.DurationVarP(&expiry, "expiry", "e", 0, "how long the record lives, such as 1h30m; 0 is for ever")
	f.BoolVar(&absent, "if-absent", false, "only if there is no such key")
	f.Int64Var(&version, "if-version", 0, "only if the record has this `version`")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		if expiry < 0 || expiry > 0 && expiry < time.Millisecond {
			return usage("--expiry is %v: a millisecond is the least", expiry)
		}
		_, err := x.store().Write(ctx, &storepb.WriteRequest{
			Record: &storepb.Record{Key: args[0], Value: []byte(strings.Join(args[1:], " ")),
				Expiry: int64(expiry / time.Second), ExpiryMs: expiry.Milliseconds()},
			Options: &storepb.WriteOptions{Database: o.in(x), Table: o.table, IfAbsent: absent, IfVersion: version},
		})
		return err
	})
	return cmd
}

func (c *cli) storeDelete() *cobra.Command {
	var o tableFlags
	cmd := &cobra.Command{Use: "delete KEY", Short: "Delete a record", Args: exactly("KEY")}
	o.add(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		_, err := x.store().Delete(ctx, &storepb.DeleteRequest{Key: args[0], Options: &storepb.DeleteOptions{Database: o.in(x), Table: o.table}})
		return err
	})
	return cmd
}

func (c *cli) storeDatabases() *cobra.Command {
	cmd := &cobra.Command{Use: "databases", Short: "List the namespaces that have records: your own; to operators all", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := x.store().Databases(ctx, &storepb.DatabasesRequest{})
		if err != nil {
			return err
		}
		return c.names(rsp.GetDatabases(), inJSON)
	})
	return cmd
}

// names prints names, one a line.
func (c *cli) names(all []string, inJSON bool) error {
	if inJSON {
		return c.JSON(append([]string{}, all...))
	}
	for _, name := range all {
		fmt.Fprintln(c.Out, terminal.OneLine(name))
	}
	return nil
}

func (c *cli) storeTables() *cobra.Command {
	var o tableFlags
	var verbose bool
	cmd := &cobra.Command{Use: "tables", Short: "List the tables", Args: exactly()}
	o.addDatabase(cmd)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show what they hold as well")
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := x.store().Tables(ctx, &storepb.TablesRequest{Database: o.in(x)})
		if err != nil {
			return err
		}
		if inJSON || !verbose {
			return c.names(rsp.GetTables(), inJSON)
		}
		rows := [][]string{{"TABLE", "KEYS", "BYTES"}}
		for _, t := range rsp.GetDetails() {
			rows = append(rows, []string{t.GetName(), strconv.FormatInt(t.GetKeys(), 10), strconv.FormatInt(t.GetBytes(), 10)})
		}
		return c.Table(rows)
	})
	return cmd
}

func (c *cli) storeDrop() *cobra.Command {
	var o tableFlags
	cmd := &cobra.Command{Use: "drop TABLE", Short: "Delete a table with all its records", Args: exactly("TABLE")}
	o.addDatabase(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		_, err := x.store().DropTable(ctx, &storepb.DropTableRequest{Database: o.in(x), Table: args[0]})
		return err
	})
	return cmd
}

func (c *cli) storeUsage() *cobra.Command {
	var o tableFlags
	cmd := &cobra.Command{Use: "usage", Short: "Show how much is stored, and the limits", Args: exactly()}
	o.addDatabase(cmd)
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := x.store().Usage(ctx, &storepb.UsageRequest{Database: o.in(x)})
		if err != nil {
			return err
		}
		if inJSON {
			return c.protoJSON(rsp)
		}
		rows := [][]string{{"WHAT", "USED", "ALLOWED"}}
		for _, l := range rsp.GetLimits() {
			rows = append(rows, []string{l.GetName(), strconv.FormatInt(l.GetUsed(), 10), strconv.FormatInt(l.GetAllowed(), 10)})
		}
		return c.Table(rows)
	})
	return cmd
}
