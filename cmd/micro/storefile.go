package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	storepb "github.com/micro/platform/proto/store"
)

// fileRecord is a line of an export.
type fileRecord struct {
	Table    string            `json:"table"`
	Key      string            `json:"key"`
	Value    []byte            `json:"value"`
	Metadata map[string]string `json:"metadata,omitempty"`
	// ExpiryMs is what was left of the record's life.
	ExpiryMs int64 `json:"expiry_ms,omitempty"`
}

// exportPage is how many records are read at a time. Values are 4 MiB at most,
// an answer 15: a page that is too large is read in smaller parts.
const exportPage = 500

func (c *cli) storeExport() *cobra.Command {
	var o tableFlags
	cmd := &cobra.Command{
		Use: "export FILE", Aliases: []string{"snapshot"}, Args: exactly("FILE"),
		Short: "Write all records to a file, or - for the output",
		Long: `Writes a JSON object on each line: table, key, value (base64), metadata, and the
milliseconds that the record has left to live. What others write meanwhile may
be in it or not.`,
	}
	o.addDatabase(cmd)
	cmd.Flags().StringVarP(&o.table, "table", "t", "", "table to export, instead of all")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		if args[0] == "-" {
			_, err := x.export(ctx, o, c.Out)
			return err
		}
		n := 0
		err := wholeFile(args[0], func(out io.Writer) (err error) {
			n, err = x.export(ctx, o, out)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(c.Err, "%d records\n", n)
		return nil
	})
	return cmd
}

// export writes the records of a table, or of all, and answers how many.
func (x *client) export(ctx context.Context, o tableFlags, out io.Writer) (int, error) {
	tables := []string{o.table}
	if o.table == "" {
		rsp, err := x.store().Tables(ctx, &storepb.TablesRequest{Database: o.in(x)})
		if err != nil {
			return 0, err
		}
		tables = rsp.GetTables()
	}
	w := bufio.NewWriter(out)
	e := json.NewEncoder(w)
	n := 0
	for _, table := range tables {
		err := x.eachRecord(ctx, o.in(x), table, func(r *storepb.Record) error {
			n++
			line := fileRecord{Table: table, Key: r.GetKey(), Value: r.GetValue(), ExpiryMs: r.GetExpiryMs()}
			for k, f := range r.GetMetadata() {
				if line.Metadata == nil {
					line.Metadata = map[string]string{}
				}
				line.Metadata[k] = f.GetValue()
			}
			return e.Encode(line)
		})
		if err != nil {
			return n, err
		}
	}
	return n, w.Flush()
}

// eachRecord hands over the records of a table, in the order of their keys.
func (x *client) eachRecord(ctx context.Context, database, table string, each func(*storepb.Record) error) error {
	o := &storepb.ReadOptions{Database: database, Table: table, Prefix: true, Limit: exportPage}
	for {
		rsp, err := x.store().Read(ctx, &storepb.ReadRequest{Options: o})
		if errors.Code(err) == codes.ResourceExhausted && o.Limit > 1 {
			o.Limit /= 4
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range rsp.GetRecords() {
			o.After = r.GetKey()
			if err := each(r); err != nil {
				return err
			}
		}
		if len(rsp.GetRecords()) < int(o.Limit) {
			return nil
		}
	}
}

// importBatch bounds what is sent at once, in bytes and in records.
const (
	importBatch   = 4 << 20
	importRecords = 500
)

func (c *cli) storeImport() *cobra.Command {
	var o tableFlags
	var absent bool
	cmd := &cobra.Command{
		Use: "import FILE", Aliases: []string{"restore"}, Args: exactly("FILE"),
		Short: "Write the records of an export, from a file or - for the input",
		Long:  "Writes what \"micro store export\" has written. Records of the same key are replaced.",
	}
	o.addDatabase(cmd)
	cmd.Flags().StringVarP(&o.table, "table", "t", "", "table to write to, instead of those in the file")
	cmd.Flags().BoolVar(&absent, "if-absent", false, "skip records that exist")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		in := io.Reader(os.Stdin)
		if args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		i := importer{client: x, database: o.in(x), table: o.table, absent: absent}
		if err := i.run(ctx, in); err != nil {
			return err
		}
		fmt.Fprintf(c.Err, "%d records", i.written)
		if i.left > 0 {
			fmt.Fprintf(c.Err, ", %d were there", i.left)
		}
		fmt.Fprintln(c.Err)
		return nil
	})
	return cmd
}

// importer writes lines of an export, in batches of one table.
type importer struct {
	client          *client
	database, table string // table is "" for those of the lines
	absent          bool

	batch         *storepb.BatchRequest
	bytes         int
	written, left int
}

func (i *importer) run(ctx context.Context, in io.Reader) error {
	d := json.NewDecoder(in)
	for line := 1; ; line++ {
		var r fileRecord
		err := d.Decode(&r)
		if err == io.EOF {
			return i.flush(ctx)
		}
		if err != nil {
			return fmt.Errorf("record %d: %w; what is before it may have been written", line, err)
		}
		if i.table != "" {
			r.Table = i.table
		}
		if err := i.add(ctx, r); err != nil {
			return err
		}
	}
}

func (i *importer) add(ctx context.Context, r fileRecord) error {
	if i.batch != nil && (i.batch.GetTable() != r.Table || i.bytes+len(r.Value) > importBatch || len(i.batch.GetChanges()) == importRecords) {
		if err := i.flush(ctx); err != nil {
			return err
		}
	}
	if i.batch == nil {
		i.batch, i.bytes = &storepb.BatchRequest{Database: i.database, Table: r.Table}, 0
	}
	record := &storepb.Record{Key: r.Key, Value: r.Value, ExpiryMs: r.ExpiryMs, Metadata: map[string]*storepb.Field{}}
	for k, v := range r.Metadata {
		record.Metadata[k] = &storepb.Field{Type: "string", Value: v}
	}
	i.bytes += len(r.Value)
	i.batch.Changes = append(i.batch.Changes, &storepb.Change{Record: record, IfAbsent: i.absent})
	return nil
}

func (i *importer) flush(ctx context.Context) error {
	if i.batch == nil {
		return nil
	}
	rsp, err := i.client.store().Batch(ctx, i.batch)
	if err != nil {
		return err
	}
	for n, r := range rsp.GetResults() {
		switch {
		case r.GetCode() == 200:
			i.written++
		case i.absent && r.GetCode() == 409:
			i.left++
		default:
			return fmt.Errorf("key %q of table %s: %s (%d records were written)", i.batch.GetChanges()[n].GetRecord().GetKey(), i.batch.GetTable(), r.GetDetail(), i.written)
		}
	}
	i.batch = nil
	return nil
}
