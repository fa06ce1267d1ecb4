package store

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"gocloud.dev/blob/fileblob"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/tenants"
	storepb "github.com/micro/platform/proto/store"
)

func TestMain(m *testing.M) {
	// The pool of a cluster's client looks for idle nodes until it is closed,
	// and a little longer.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/redis/go-redis/v9/maintnotifications.(*CircuitBreakerManager).cleanupLoop"))
}

var defaults = Options{
	MaxValue: 1 << 10, MaxKeys: 10_000, MaxBytes: 4 << 20, MaxTables: 20,
	MaxBlob: 1 << 20, MaxBlobs: 10, MaxBlobBytes: 4 << 20, Sweep: time.Second,
}

// unlimited leaves the limits to the settings.
var unlimited = plans.Limits{Keys: plans.Unlimited, StoreBytes: plans.Unlimited, ValueBytes: plans.Unlimited}

// setup answers a service on a Redis, and a namespace that nobody else uses.
func setup(t testing.TB, change ...func(*Options)) (*Service, string) {
	t.Helper()
	return setupOn(t, redistest.New(t), change...)
}

func setupOn(t testing.TB, rdb redis.UniversalClient, change ...func(*Options)) (*Service, string) {
	t.Helper()
	bucket, err := fileblob.OpenBucket(t.TempDir(), &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bucket.Close() })
	o := defaults
	for _, c := range change {
		c(&o)
	}
	s, ns := New(rdb, bucket, tenants.Fixed(unlimited), slog.New(slog.DiscardHandler), o), redistest.Namespace(t)
	t.Cleanup(func() {
		ctx := context.Background()
		tables, err := s.db.tables(ctx, ns)
		if err != nil {
			t.Error(err)
		}
		for u := range tables {
			if err := s.db.drop(ctx, u); err != nil {
				t.Error(err)
			}
		}
		rdb.SRem(ctx, namespacesKey, ns)
	})
	return s, ns
}

// as is a context with a service account of a namespace.
func as(t testing.TB, namespace string) context.Context {
	return identity.With(t.Context(), identity.Caller{ID: "notes-1", Type: identity.Service, Namespace: namespace, Scopes: []string{"service"}})
}

func asOperator(t testing.TB) context.Context {
	return identity.With(t.Context(), identity.Caller{ID: "admin", Type: identity.User, Namespace: identity.Platform, Scopes: []string{"admin"}})
}

func write(t testing.TB, s *Service, ctx context.Context, key, value string) int64 {
	t.Helper()
	rsp, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: key, Value: []byte(value)}})
	if err != nil {
		t.Fatal(err)
	}
	return rsp.GetVersion()
}

// read answers the values under a key, or that begin or end with it.
func read(t testing.TB, s *Service, ctx context.Context, key string, o *storepb.ReadOptions) []string {
	t.Helper()
	rsp, err := s.Read(ctx, &storepb.ReadRequest{Key: key, Options: o})
	if errors.Code(err) == codes.NotFound {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range rsp.GetRecords() {
		all = append(all, string(r.GetValue()))
	}
	return all
}

// stream collects what a streaming RPC sends.
type stream[M any] struct {
	grpc.ServerStream
	ctx  context.Context
	sent []*M
}

func (s *stream[M]) Context() context.Context { return s.ctx }

func (s *stream[M]) Send(m *M) error { s.sent = append(s.sent, m); return nil }

func list(t testing.TB, s *Service, ctx context.Context, o *storepb.ListOptions) []string {
	t.Helper()
	st := &stream[storepb.ListResponse]{ctx: ctx}
	if err := s.List(&storepb.ListRequest{Options: o}, st); err != nil {
		t.Fatal(err)
	}
	if len(st.sent) == 0 {
		t.Fatal("List sent nothing: existing clients wait for one answer")
	}
	var all []string
	for _, m := range st.sent {
		all = append(all, m.GetKeys()...)
	}
	return all
}

func TestRecords(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	if got := list(t, s, ctx, nil); len(got) != 0 {
		t.Fatalf("a new namespace has %q", got)
	}
	first := write(t, s, ctx, "a", "1")
	second := write(t, s, ctx, "a", "2")
	if second <= first {
		t.Errorf("versions %d, %d: want them to rise", first, second)
	}
	if got := read(t, s, ctx, "a", nil); !slices.Equal(got, []string{"2"}) {
		t.Errorf("Read = %q, want the last value", got)
	}
	for range 2 {
		if _, err := s.Delete(ctx, &storepb.DeleteRequest{Key: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, s, ctx, "a", nil); got != nil {
		t.Errorf("a deleted record is %q", got)
	}
	if v := write(t, s, ctx, "a", "3"); v <= second {
		t.Errorf("version %d after %d: none is given twice", v, second)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	_, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{
		Key: "a", Value: []byte("v"), Metadata: map[string]*storepb.Field{"n": {Type: "int", Value: "7"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := s.Read(ctx, &storepb.ReadRequest{Key: "a"})
	if err != nil {
		t.Fatal(err)
	}
	r := rsp.GetRecords()[0]
	if f := r.GetMetadata()["n"]; string(r.GetValue()) != "v" || f.GetValue() != "7" || f.GetType() != "string" {
		t.Errorf("Read = %v", r)
	}
}

func TestListings(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	for _, k := range []string{"a/1", "a/2", "a/3", "b/1", "b/2", "ä", "a\xf4\x8f\xbf\xbf1"} {
		write(t, s, ctx, k, k)
	}
	for _, tt := range []struct {
		name string
		list *storepb.ListOptions
		want string
	}{
		{"all", nil, "a/1 a/2 a/3 a\U0010FFFF1 b/1 b/2 ä"},
		{"prefix", &storepb.ListOptions{Prefix: "a/"}, "a/1 a/2 a/3"},
		{"prefix at the end of what there is", &storepb.ListOptions{Prefix: "ä"}, "ä"},
		{"prefix with the highest rune", &storepb.ListOptions{Prefix: "a\U0010FFFF"}, "a\U0010FFFF1"},
		{"suffix", &storepb.ListOptions{Suffix: "/1"}, "a/1 b/1"},
		{"both", &storepb.ListOptions{Prefix: "b", Suffix: "1"}, "b/1"},
		{"glob characters mean themselves", &storepb.ListOptions{Prefix: "*"}, ""},
		{"limit", &storepb.ListOptions{Limit: 2}, "a/1 a/2"},
		{"offset", &storepb.ListOptions{Offset: 5}, "b/2 ä"},
		{"offset behind the end", &storepb.ListOptions{Offset: 50}, ""},
		{"limit and offset", &storepb.ListOptions{Prefix: "a/", Limit: 1, Offset: 1}, "a/2"},
		{"suffix, limit and offset", &storepb.ListOptions{Suffix: "1", Limit: 1, Offset: 1}, "a\U0010FFFF1"},
		{"desc", &storepb.ListOptions{Prefix: "a/", Order: "desc"}, "a/3 a/2 a/1"},
		{"desc, limit and offset", &storepb.ListOptions{Order: "desc", Limit: 2, Offset: 1}, "b/2 b/1"},
		{"any other order", &storepb.ListOptions{Prefix: "a/", Order: "up"}, "a/1 a/2 a/3"},
		{"after", &storepb.ListOptions{After: "a/2", Limit: 2}, "a/3 a\U0010FFFF1"},
		{"after, desc", &storepb.ListOptions{After: "b/1", Limit: 2, Order: "desc"}, "a\U0010FFFF1 a/3"},
		{"after a key before the prefix", &storepb.ListOptions{Prefix: "b/", After: "a"}, "b/1 b/2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(list(t, s, ctx, tt.list), " "); got != tt.want {
				t.Errorf("List = %q, want %q", got, tt.want)
			}
			o := tt.list
			if o == nil {
				o = &storepb.ListOptions{}
			}
			if o.GetPrefix() != "" && o.GetSuffix() != "" {
				return // Read has one key for both
			}
			got := read(t, s, ctx, o.GetPrefix()+o.GetSuffix(), &storepb.ReadOptions{
				Prefix: o.GetSuffix() == "", Suffix: o.GetSuffix() != "", Limit: o.GetLimit(), Offset: o.GetOffset(), Order: o.GetOrder(), After: o.GetAfter(),
			})
			if joined := strings.Join(got, " "); joined != tt.want {
				t.Errorf("Read = %q, want %q", joined, tt.want)
			}
		})
	}
}

// TestPages lists more than one look into Redis answers.
func TestPages(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	var want []string
	for batch := range 5 {
		req := &storepb.BatchRequest{}
		for i := range 500 {
			key := fmt.Sprintf("%d/%03d", batch, i)
			want = append(want, key)
			req.Changes = append(req.Changes, &storepb.Change{Record: &storepb.Record{Key: key, Value: make([]byte, 1000)}})
		}
		if _, err := s.Batch(ctx, req); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(t, s, ctx, nil); !slices.Equal(got, want) {
		t.Errorf("%d keys, want %d in order", len(got), len(want))
	}
	if got := read(t, s, ctx, "", &storepb.ReadOptions{Prefix: true}); len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	if got := list(t, s, ctx, &storepb.ListOptions{Suffix: "9", Order: "desc", Limit: 150, Offset: 99}); len(got) != 150 || got[0] != "3/009" {
		t.Errorf("%d keys from %v", len(got), got[:1])
	}
	if got := list(t, s, ctx, &storepb.ListOptions{Offset: 1999, Limit: 2}); !slices.Equal(got, []string{"3/499", "4/000"}) {
		t.Errorf("far away there is %q", got)
	}
}
