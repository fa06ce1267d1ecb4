package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/redistest"
	storepb "github.com/micro/platform/proto/store"
)

func TestConditions(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	put := func(o *storepb.WriteOptions) error {
		_, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: "k", Value: []byte("v")}, Options: o})
		return err
	}
	remove := func(version int64) error {
		_, err := s.Delete(ctx, &storepb.DeleteRequest{Key: "k", Options: &storepb.DeleteOptions{IfVersion: version}})
		return err
	}
	last := write(t, s, ctx, "other", "")
	for i, step := range []struct {
		got  error
		want codes.Code
	}{
		{put(&storepb.WriteOptions{IfVersion: 1}), codes.FailedPrecondition}, // there is no such record
		{put(&storepb.WriteOptions{IfAbsent: true}), codes.OK},
		{put(&storepb.WriteOptions{IfAbsent: true}), codes.AlreadyExists},
		{put(&storepb.WriteOptions{IfVersion: last + 1}), codes.OK},
		{put(&storepb.WriteOptions{IfVersion: last + 1}), codes.FailedPrecondition},
		{remove(last + 1), codes.FailedPrecondition},
		{remove(last + 2), codes.OK},
		{remove(last + 2), codes.FailedPrecondition},
		{put(&storepb.WriteOptions{IfAbsent: true}), codes.OK},
		{put(&storepb.WriteOptions{IfVersion: -1}), codes.InvalidArgument},
		{put(&storepb.WriteOptions{IfVersion: 3, IfAbsent: true}), codes.InvalidArgument},
	} {
		if errors.Code(step.got) != step.want {
			t.Errorf("step %d: %v, want %v", i, step.got, step.want)
		}
	}
}

// TestVersionsOfDropped shows that what was read from a dropped table cannot be
// mistaken for what is in a new one of its name.
func TestVersionsOfDropped(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	old := write(t, s, ctx, "k", "old")
	if _, err := s.DropTable(ctx, &storepb.DropTableRequest{Table: defaultTable}); err != nil {
		t.Fatal(err)
	}
	if again := write(t, s, ctx, "k", "new"); again <= old {
		t.Errorf("version %d after %d", again, old)
	}
}

// TestRace counts with conditions: no count gets lost.
func TestRace(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			_, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: "k"}, Options: &storepb.WriteOptions{IfAbsent: true}})
			switch errors.Code(err) {
			case codes.OK:
				won.Add(1)
			case codes.AlreadyExists:
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d wrote the record that was not there", won.Load())
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	s, ns := setup(t, func(o *Options) { o.MaxKeys = 2 })
	ctx := as(t, ns)
	before, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: "b"}, Options: &storepb.WriteOptions{Table: "t"}})
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := s.Batch(ctx, &storepb.BatchRequest{Table: "t", Changes: []*storepb.Change{
		{Record: &storepb.Record{Key: "b"}, Delete: true},
		{Record: &storepb.Record{Key: "a", Value: []byte("1")}},
		{Record: &storepb.Record{Key: "a", Value: []byte("2")}, IfVersion: before.GetVersion() + 1},
		{Record: &storepb.Record{Key: "a"}, IfAbsent: true},
		{Record: &storepb.Record{Key: "b"}},
		{Record: &storepb.Record{Key: "c"}},
		{Record: &storepb.Record{Key: "b"}, Delete: true},
		{Record: &storepb.Record{Key: "b"}, Delete: true},
		{Record: &storepb.Record{Key: "c"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int32{200, 200, 200, 409, 200, 429, 200, 200, 200} {
		if r := rsp.GetResults()[i]; r.GetCode() != want || (want == 200) != (r.GetDetail() == "") {
			t.Errorf("result %d = %v, want code %d", i, r, want)
		}
	}
	if got := list(t, s, ctx, &storepb.ListOptions{Table: "t"}); fmt.Sprint(got) != "[a c]" {
		t.Errorf("the table has %q", got)
	}
	for name, changes := range map[string][]*storepb.Change{
		"none":           nil,
		"too many":       make([]*storepb.Change, maxChanges+1),
		"without record": {{}},
		"bad deletion":   {{Record: &storepb.Record{Key: "a"}, Delete: true, IfAbsent: true}},
		"one bad key":    {{Record: &storepb.Record{Key: "a", Value: []byte("no")}}, {Record: &storepb.Record{}}},
	} {
		_, err := s.Batch(ctx, &storepb.BatchRequest{Table: "t", Changes: changes})
		if errors.Code(err) != codes.InvalidArgument || name == "one bad key" && !strings.Contains(err.Error(), "changes[1]: key") {
			t.Errorf("%s: %v, want InvalidArgument, and which change", name, err)
		}
	}
	if got := read(t, s, ctx, "a", &storepb.ReadOptions{Table: "t"}); fmt.Sprint(got) != "[2]" {
		t.Errorf("a refused batch wrote %q", got)
	}
}

// until polls until ok, for a while.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("still waiting: " + what)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	put := func(key string, r *storepb.Record) {
		t.Helper()
		r.Key, r.Value = key, []byte(key)
		if _, err := s.Write(ctx, &storepb.WriteRequest{Record: r}); err != nil {
			t.Fatal(err)
		}
	}
	put("seconds", &storepb.Record{Expiry: 100})
	put("short", &storepb.Record{ExpiryMs: 30})
	put("both", &storepb.Record{Expiry: 100, ExpiryMs: 30})
	put("kept", &storepb.Record{ExpiryMs: 30})
	put("kept", &storepb.Record{})
	rsp, err := s.Read(ctx, &storepb.ReadRequest{Key: "seconds"})
	if r := rsp.GetRecords(); err != nil || r[0].GetExpiry() != r[0].GetExpiryMs()/1000 || r[0].GetExpiryMs() > 100_000 || r[0].GetExpiryMs() < 99_000 {
		t.Errorf("Read = %v, %v: want what is left, rounded down", r, err)
	}
	until(t, "short expires", func() bool { return read(t, s, ctx, "short", nil) == nil && read(t, s, ctx, "both", nil) == nil })
	// Nobody has listed or swept yet: what is over does not count.
	if _, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: "short"}, Options: &storepb.WriteOptions{IfAbsent: true}}); err != nil {
		t.Errorf("writing what has expired: %v", err)
	}
	if got := list(t, s, ctx, nil); fmt.Sprint(got) != "[kept seconds short]" {
		t.Errorf("List = %q", got)
	}
	if got := list(t, s, ctx, &storepb.ListOptions{Offset: 1, Limit: 1}); fmt.Sprint(got) != "[seconds]" {
		t.Errorf("with an offset List = %q", got)
	}
}

// TestNothingLeaks lets many records expire: neither value, nor index, nor
// count stays.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	nothingLeaks(t, s, ns)
}

func nothingLeaks(t *testing.T, s *Service, ns string) {
	t.Helper()
	ctx := as(t, ns)
	write(t, s, ctx, "kept", "kept")
	for batch := range 3 {
		req := &storepb.BatchRequest{}
		for i := range maxChanges {
			req.Changes = append(req.Changes, &storepb.Change{Record: &storepb.Record{
				Key: fmt.Sprint(batch, i), Value: []byte("v"), ExpiryMs: 1, Metadata: map[string]*storepb.Field{"m": {Value: "v"}},
			}})
		}
		if _, err := s.Batch(ctx, req); err != nil {
			t.Fatal(err)
		}
	}
	u := unit{ns, defaultTable}
	until(t, "the sweeper is done", func() bool {
		if err := s.sweep(ctx); err != nil {
			t.Fatal(err)
		}
		return s.db.redis.ZCard(ctx, u.keys()[3]).Val() == 0
	})
	tables, err := s.db.tables(ctx, ns)
	if err != nil {
		t.Fatal(err)
	}
	if have, want := tables[u], (size{1, int64(len("kept")*2 + headLength)}); have != want {
		t.Errorf("the table holds %v, want %v", have, want)
	}
	if n := s.db.redis.ZCard(ctx, u.keys()[2]).Val(); n != 1 {
		t.Errorf("%d keys are in the index, want 1", n)
	}
}

// TestDroppedTable writes while a table is dropped again and again: whatever is
// there in the end is listed.
func TestDroppedTable(t *testing.T) {
	t.Parallel()
	s, ns := setup(t)
	ctx := as(t, ns)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 25 {
				if i == 0 {
					if _, err := s.DropTable(ctx, &storepb.DropTableRequest{Table: "t"}); err != nil {
						t.Error(err)
					}
					continue
				}
				_, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: fmt.Sprint(i, n)}, Options: &storepb.WriteOptions{Table: "t"}})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	rsp, err := s.Tables(ctx, &storepb.TablesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	exists := s.db.redis.Exists(ctx, unit{ns, "t"}.keys()[0]).Val() == 1
	if exists != (len(rsp.GetTables()) == 1) {
		t.Errorf("the table exists: %v, and listed are %q", exists, rsp.GetTables())
	}
}

// TestReplicas acknowledges what a replica has, and nothing while there is none.
func TestReplicas(t *testing.T) {
	t.Parallel()
	master, replica := redistest.Replicated(t)
	s, ns := setupOn(t, master, func(o *Options) { o.Replicas = 1 })
	ctx := as(t, ns)
	write(t, s, ctx, "a", "1")
	if n := replica.HLen(ctx, unit{ns, defaultTable}.keys()[1]).Val(); n != 1 {
		t.Errorf("the replica has %d records, want 1", n)
	}
	if err := replica.Do(ctx, "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: "b"}})
	if errors.Code(err) != codes.Unavailable {
		t.Errorf("Write without a replica = %v, want Unavailable", err)
	}
}

// TestCluster runs what touches several keys on a Redis Cluster.
func TestCluster(t *testing.T) {
	t.Parallel()
	rdb := redistest.Cluster(t)
	s, ns := setupOn(t, rdb)
	ctx := as(t, ns)
	for i := range 15 { // so many that each server has some
		table := fmt.Sprint("table-", i)
		for _, key := range []string{"a/1", "a/2", "b"} {
			_, err := s.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: key, Value: []byte(table)}, Options: &storepb.WriteOptions{Table: table}})
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := list(t, s, ctx, &storepb.ListOptions{Table: table, Prefix: "a/", Order: "desc"}); fmt.Sprint(got) != "[a/2 a/1]" {
			t.Errorf("%s: List = %q", table, got)
		}
		if got := read(t, s, ctx, "b", &storepb.ReadOptions{Table: table}); fmt.Sprint(got) != "["+table+"]" {
			t.Errorf("%s: Read = %q", table, got)
		}
	}
	if rsp, err := s.Tables(ctx, &storepb.TablesRequest{}); err != nil || len(rsp.GetTables()) != 15 || rsp.GetDetails()[3].GetKeys() != 3 {
		t.Errorf("Tables = %v, %v", rsp, err)
	}
	var used sync.Map
	err := rdb.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		n, err := c.DBSize(ctx).Result()
		used.Store(c.Options().Addr, n)
		if n == 0 {
			t.Errorf("%s has nothing", c.Options().Addr)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeBlob(s, ctx, "blob", nil, "blob"); err != nil {
		t.Fatal(err)
	}
	if got, err := readBlob(s, ctx, "blob"); err != nil || got != "blob" {
		t.Errorf("the blob is %q, %v", got, err)
	}
	nothingLeaks(t, s, ns)
}
