package store

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/tenants"
	storepb "github.com/micro/platform/proto/store"
)

func TestBadWrites(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	pairs := map[string]*storepb.Field{}
	for i := range maxMetadata + 1 {
		pairs[fmt.Sprint(i)] = &storepb.Field{}
	}
	for _, tt := range []struct {
		name   string
		record *storepb.Record
		table  string
		want   codes.Code
		detail string
	}{
		{"no record", nil, "", codes.InvalidArgument, "no record specified"},
		{"empty key", &storepb.Record{}, "", codes.InvalidArgument, "key \"\": 1 to 1024 bytes"},
		{"longest key", &storepb.Record{Key: strings.Repeat("k", maxKey)}, "", codes.OK, ""},
		{"key too long", &storepb.Record{Key: strings.Repeat("k", maxKey+1)}, "", codes.InvalidArgument, "got 1025"},
		{"zero byte", &storepb.Record{Key: "a\x00b"}, "", codes.InvalidArgument, "zero bytes"},
		{"no UTF-8", &storepb.Record{Key: "a\xff"}, "", codes.InvalidArgument, "UTF-8"},
		{"all that means something elsewhere", &storepb.Record{Key: "{a}/*?[b]:..\n\r$ %2F\\"}, "", codes.OK, ""},
		{"no value", &storepb.Record{Key: "k"}, "", codes.OK, ""},
		{"largest value", &storepb.Record{Key: "k", Value: make([]byte, defaults.MaxValue)}, "", codes.OK, ""},
		{"value too large", &storepb.Record{Key: "k", Value: make([]byte, defaults.MaxValue+1)}, "", codes.ResourceExhausted, "has 1025 bytes, and may have 1024"},
		{"binary value", &storepb.Record{Key: "k", Value: []byte("\x00\xff\r\n$-1\r\n")}, "", codes.OK, ""},
		{"too much metadata", &storepb.Record{Key: "k", Metadata: pairs}, "", codes.InvalidArgument, "at most 64 entries"},
		{"metadata too long", &storepb.Record{Key: "k", Metadata: map[string]*storepb.Field{"n": {Value: strings.Repeat("v", maxPair)}}}, "", codes.InvalidArgument, "1024 bytes together"},
		{"negative expiry", &storepb.Record{Key: "k", Expiry: -1}, "", codes.InvalidArgument, "negative"},
		{"negative milliseconds", &storepb.Record{Key: "k", ExpiryMs: math.MinInt64}, "", codes.InvalidArgument, "negative"},
		{"huge expiry", &storepb.Record{Key: "k", Expiry: math.MaxInt64}, "", codes.InvalidArgument, "100 years"},
		{"table with braces", &storepb.Record{Key: "k"}, "t}:x{", codes.OK, ""},
		{"table with a path", &storepb.Record{Key: "k"}, "../../other", codes.OK, ""},
		{"table with a line end", &storepb.Record{Key: "k"}, "a\nb", codes.InvalidArgument, "table \"a\\nb\""},
		{"table too long", &storepb.Record{Key: "k"}, strings.Repeat("t", maxName+1), codes.InvalidArgument, "1 to 128 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.Write(ctx, &storepb.WriteRequest{Record: tt.record, Options: &storepb.WriteOptions{Table: tt.table}})
			if errors.Code(err) != tt.want || err != nil && !strings.Contains(err.Error(), tt.detail) {
				t.Fatalf("Write = %v, want %v with %q", err, tt.want, tt.detail)
			}
			if err != nil {
				return
			}
			got := read(t, s, ctx, tt.record.GetKey(), &storepb.ReadOptions{Table: tt.table})
			if len(got) != 1 || got[0] != string(tt.record.GetValue()) {
				t.Errorf("Read = %q, want what was written", got)
			}
		})
	}
}

func TestBadReads(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	for _, tt := range []struct {
		name string
		req  *storepb.ReadRequest
		want codes.Code
	}{
		{"empty key", &storepb.ReadRequest{}, codes.InvalidArgument},
		{"zero byte", &storepb.ReadRequest{Key: "\x00"}, codes.InvalidArgument},
		{"unknown table", &storepb.ReadRequest{Key: "k", Options: &storepb.ReadOptions{Table: "nothing"}}, codes.NotFound},
		{"unknown table, prefix", &storepb.ReadRequest{Key: "k", Options: &storepb.ReadOptions{Table: "nothing", Prefix: true}}, codes.OK},
		{"limit that was negative", &storepb.ReadRequest{Options: &storepb.ReadOptions{Prefix: true, Limit: math.MaxUint64}}, codes.InvalidArgument},
		{"offset that was negative", &storepb.ReadRequest{Options: &storepb.ReadOptions{Prefix: true, Offset: math.MaxUint64 - 4}}, codes.InvalidArgument},
		{"largest offset", &storepb.ReadRequest{Options: &storepb.ReadOptions{Prefix: true, Offset: math.MaxInt64, Limit: math.MaxInt64}}, codes.OK},
		{"prefix too long", &storepb.ReadRequest{Key: strings.Repeat("k", maxKey+1), Options: &storepb.ReadOptions{Prefix: true}}, codes.InvalidArgument},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := s.Read(ctx, tt.req); errors.Code(err) != tt.want {
				t.Errorf("Read = %v, want %v", err, tt.want)
			}
		})
	}
	if tables, err := s.db.tables(ctx, ns); err != nil || len(tables) != 0 {
		t.Errorf("reading made tables: %v, %v", tables, err)
	}
}

func TestTooMuchForOneAnswer(t *testing.T) {
	t.Parallel()
	s, ns := setup(t, func(o *Options) { o.MaxValue, o.MaxBytes = 1<<20, 1<<30 })
	ctx := as(t, ns)
	value := strings.Repeat("v", 1<<20)
	for i := range 16 {
		write(t, s, ctx, fmt.Sprintf("%02d", i), value)
	}
	_, err := s.Read(ctx, &storepb.ReadRequest{Options: &storepb.ReadOptions{Prefix: true}})
	if errors.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "15 MiB") {
		t.Errorf("Read = %v, want ResourceExhausted with the limit", err)
	}
	if got := read(t, s, ctx, "", &storepb.ReadOptions{Prefix: true, Limit: 8, After: "07"}); len(got) != 8 {
		t.Errorf("%d records behind a key, want 8", len(got))
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s, ns := setup(t, func(o *Options) { o.MaxKeys, o.MaxBytes, o.MaxTables = 3, 1000, 2 })
	ctx := as(t, ns)
	put := func(table, key string, n int) error {
		_, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: key, Value: make([]byte, n)}, Options: &storepb.WriteOptions{Table: table}})
		return err
	}
	refused := func(err error, detail string) {
		t.Helper()
		if errors.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), detail) {
			t.Fatalf("got %v, want ResourceExhausted with %q", err, detail)
		}
	}
	for i, table := range []string{"a", "a", "b"} {
		if err := put(table, fmt.Sprint(i), 100); err != nil {
			t.Fatal(err)
		}
	}
	refused(put("a", "more", 1), "namespace "+ns+" may have 3 records, which is the limit \"keys\" of plan")
	refused(put("b", "more", 1), "may have 3 records")
	refused(put("c", "more", 1), "limit tables: namespace ")
	if err := put("a", "0", 200); err != nil {
		t.Errorf("replacing one of the last records: %v", err)
	}
	refused(put("a", "0", 1000), "may have 1000 bytes")
	// Over the limit one may still write less, and delete.
	s.opts.MaxBytes = 10
	if err := put("a", "0", 50); err != nil {
		t.Errorf("writing less than there was: %v", err)
	}
	for _, key := range []string{"0", "1"} {
		if _, err := s.Delete(ctx, &storepb.DeleteRequest{Key: key, Options: &storepb.DeleteOptions{Table: "a"}}); err != nil {
			t.Fatal(err)
		}
	}
	rsp, err := s.Usage(ctx, &storepb.UsageRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := int64(headLength + 100 + 1)
	if l := rsp.GetLimits(); l[0].GetUsed() != 1 || l[1].GetUsed() != want || l[2].GetUsed() != 2 {
		t.Errorf("Usage = %v, want one record of %d bytes in two tables", l, want)
	}
	if _, err := s.DropTable(ctx, &storepb.DropTableRequest{Table: "b"}); err != nil {
		t.Fatal(err)
	}
	s.opts.MaxBytes = 1000
	if err := put("c", "more", 1); err != nil {
		t.Errorf("a table in place of a dropped one: %v", err)
	}
}

// TestPlan holds a namespace to its plan: records and blobs share the bytes, and
// what is over names the limit, its value and the plan.
func TestPlan(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	s.tenants = tenants.Fixed(plans.Limits{Keys: 2, StoreBytes: 600, ValueBytes: 300})
	ctx := as(t, ns)
	put := func(key string, bytes int) error {
		_, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: key, Value: make([]byte, bytes)}})
		return err
	}
	refused := func(err error, want string) {
		t.Helper()
		if errors.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want ResourceExhausted with %q", err, want)
		}
	}
	refused(put("a", 301), "value of key \"a\" has 301 bytes, and may have 300, which is the limit \"value_bytes\" of plan")
	if err := put("a", 300); err != nil {
		t.Fatal(err)
	}
	refused(writeBlob(s, ctx, "b", nil, strings.Repeat("b", 300)), "the records and blobs of namespace "+ns+" may have 600 bytes, which is the limit \"store_bytes\" of plan")
	if err := writeBlob(s, ctx, "b", nil, strings.Repeat("b", 100)); err != nil {
		t.Fatal(err)
	}
	refused(put("b", 100), "limit \"store_bytes\"")
	if err := put("b", 0); err != nil {
		t.Fatal(err)
	}
	refused(put("c", 0), "namespace "+ns+" may have 2 records, which is the limit \"keys\" of plan")
}

// TestOthers tries every way to name another namespace.
func TestOthers(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	mine := as(t, ns)
	write(t, s, mine, "secret", "mine")
	other := as(t, ns+"x")
	user := identity.With(t.Context(), identity.Caller{ID: "u", Type: identity.User, Namespace: ns})
	calls := map[string]func(context.Context, string) error{
		"Read": func(ctx context.Context, db string) error {
			_, err := s.Read(ctx, &storepb.ReadRequest{Key: "secret", Options: &storepb.ReadOptions{Database: db}})
			return err
		},
		"Write": func(ctx context.Context, db string) error {
			_, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: "k"}, Options: &storepb.WriteOptions{Database: db}})
			return err
		},
		"Delete": func(ctx context.Context, db string) error {
			_, err := s.Delete(ctx, &storepb.DeleteRequest{Key: "k", Options: &storepb.DeleteOptions{Database: db}})
			return err
		},
		"List": func(ctx context.Context, db string) error {
			return s.List(&storepb.ListRequest{Options: &storepb.ListOptions{Database: db}}, &stream[storepb.ListResponse]{ctx: ctx})
		},
		"Tables": func(ctx context.Context, db string) error {
			_, err := s.Tables(ctx, &storepb.TablesRequest{Database: db})
			return err
		},
		"Batch": func(ctx context.Context, db string) error {
			_, err := s.Batch(ctx, &storepb.BatchRequest{Database: db, Changes: []*storepb.Change{{Record: &storepb.Record{Key: "k"}}}})
			return err
		},
		"DropTable": func(ctx context.Context, db string) error {
			_, err := s.DropTable(ctx, &storepb.DropTableRequest{Database: db, Table: "nothing"})
			return err
		},
		"Usage": func(ctx context.Context, db string) error {
			_, err := s.Usage(ctx, &storepb.UsageRequest{Database: db})
			return err
		},
		"BlobStore.List": func(ctx context.Context, db string) error {
			_, err := s.Blobs().List(ctx, &storepb.BlobListRequest{Options: &storepb.BlobListOptions{Namespace: db}})
			return err
		},
		"BlobStore.Delete": func(ctx context.Context, db string) error {
			_, err := s.Blobs().Delete(ctx, &storepb.BlobDeleteRequest{Key: "k", Options: &storepb.BlobOptions{Namespace: db}})
			return err
		},
		"BlobStore.Read": func(ctx context.Context, db string) error {
			err := s.Blobs().Read(&storepb.BlobReadRequest{Key: "k", Options: &storepb.BlobOptions{Namespace: db}}, &stream[storepb.BlobReadResponse]{ctx: ctx})
			if errors.Code(err) == codes.NotFound {
				return nil
			}
			return err
		},
		"BlobStore.Write": func(ctx context.Context, db string) error {
			return writeBlob(s, ctx, "k", &storepb.BlobOptions{Namespace: db}, "x")
		},
	}
	for name, call := range calls {
		for _, named := range []string{ns, "*", "../" + ns, strings.ToUpper(ns), ns + "/micro"} {
			if err := call(other, named); errors.Code(err) != codes.PermissionDenied {
				t.Errorf("%s of another in %q = %v, want PermissionDenied", name, named, err)
			}
		}
		if err := call(t.Context(), ns); errors.Code(err) != codes.Unauthenticated {
			t.Errorf("%s of a stranger = %v, want Unauthenticated", name, err)
		}
		if err := call(user, ""); errors.Code(err) != codes.PermissionDenied {
			t.Errorf("%s of a user without the scope = %v, want PermissionDenied", name, err)
		}
		for _, named := range []string{"", ns, "micro"} {
			if err := call(mine, named); err != nil {
				t.Errorf("%s in %q = %v", name, named, err)
			}
		}
		if err := call(asOperator(t), ns); err != nil {
			t.Errorf("%s of an operator = %v", name, err)
		}
	}
	for _, own := range []string{"", "micro"} {
		_, err := s.Read(other, &storepb.ReadRequest{Key: "secret", Options: &storepb.ReadOptions{Database: own}})
		if errors.Code(err) != codes.NotFound {
			t.Errorf("another reads database %q: %v", own, err)
		}
	}
	rsp, err := s.Databases(mine, &storepb.DatabasesRequest{})
	if err != nil || len(rsp.GetDatabases()) != 1 || rsp.GetDatabases()[0] != ns {
		t.Errorf("Databases = %v, %v, want the own one", rsp, err)
	}
}
