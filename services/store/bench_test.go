package store

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/redistest"
	storepb "github.com/micro/platform/proto/store"
)

// benchKeys is how many records there are.
const benchKeys = 10_000

// benchCallers is how many callers there are at once, on any number of cores.
const benchCallers = 64

func benchKey(i int64) string { return fmt.Sprintf("orders/%03d/%03d", i/100%100, i%100) }

func parallel(b *testing.B, call func(i int64) error) {
	var n atomic.Int64
	b.SetParallelism(max(1, benchCallers/runtime.GOMAXPROCS(0)))
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := call(n.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// BenchmarkStore compares the service, called by gRPC, with the same on bare
// Redis: read and write of 1 KB, and a list of 100 records by prefix.
func BenchmarkStore(b *testing.B) {
	value := make([]byte, 1<<10)
	b.Run("bare", func(b *testing.B) {
		rdb, ns := redistest.New(b), redistest.Namespace(b)
		ctx := context.Background()
		all := []string{}
		for i := range int64(benchKeys) {
			all = append(all, ns+benchKey(i))
			if err := rdb.Set(ctx, ns+benchKey(i), value, 0).Err(); err != nil {
				b.Fatal(err)
			}
			rdb.ZAdd(ctx, ns, redis.Z{Member: benchKey(i)})
		}
		b.Cleanup(func() { rdb.Unlink(ctx, append(all, ns)...) })
		b.Run("read", func(b *testing.B) {
			parallel(b, func(i int64) error { return rdb.Get(ctx, ns+benchKey(i)).Err() })
		})
		b.Run("write", func(b *testing.B) {
			parallel(b, func(i int64) error { return rdb.Set(ctx, ns+benchKey(i), value, 0).Err() })
		})
		b.Run("list", func(b *testing.B) {
			parallel(b, func(i int64) error {
				prefix := fmt.Sprintf("orders/%03d/", i%100)
				keys, err := rdb.ZRangeByLex(ctx, ns, &redis.ZRangeBy{Min: "[" + prefix, Max: "(" + prefixEnd(prefix), Count: 100}).Result()
				if err != nil {
					return err
				}
				for i, k := range keys {
					keys[i] = ns + k
				}
				return rdb.MGet(ctx, keys...).Err()
			})
		})
	})
	b.Run("service", func(b *testing.B) {
		s, ns := setup(b, func(o *Options) { o.MaxBytes = 1 << 30; o.MaxKeys = 1 << 30 })
		for i := range int64(benchKeys) {
			write(b, s, as(b, ns), benchKey(i), string(value))
		}
		c, ctx := serve(b, s, ns), context.Background()
		b.Run("read", func(b *testing.B) {
			parallel(b, func(i int64) error {
				_, err := c.Read(ctx, &storepb.ReadRequest{Key: benchKey(i)})
				return err
			})
		})
		b.Run("write", func(b *testing.B) {
			parallel(b, func(i int64) error {
				_, err := c.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: benchKey(i), Value: value}})
				return err
			})
		})
		b.Run("list", func(b *testing.B) {
			parallel(b, func(i int64) error {
				rsp, err := c.Read(ctx, &storepb.ReadRequest{Key: fmt.Sprintf("orders/%03d/", i%100), Options: &storepb.ReadOptions{Prefix: true}})
				if err == nil && len(rsp.GetRecords()) != 100 {
					err = fmt.Errorf("%d records", len(rsp.GetRecords()))
				}
				return err
			})
		})
	})
}

// BenchmarkMemory is what a million small records take in Redis, besides what
// the bare keys and values take.
func BenchmarkMemory(b *testing.B) {
	const records = 1_000_000
	value := make([]byte, 100)
	rdb, ns := redistest.New(b), redistest.Namespace(b)
	ctx := context.Background()
	used := func() float64 {
		n, err := rdb.InfoMap(ctx, "memory").Result()
		if err != nil {
			b.Fatal(err)
		}
		var bytes float64
		fmt.Sscan(n["Memory"]["used_memory"], &bytes)
		return bytes
	}
	for b.Loop() {
		empty := used()
		for i := 0; i < records; i += 1000 {
			_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
				for j := range 1000 {
					p.Set(ctx, fmt.Sprintf("%s:%07d", ns, i+j), value, 0)
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		bare := used() - empty
		for i := 0; i < records; i += 1000 {
			_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
				for j := range 1000 {
					p.Unlink(ctx, fmt.Sprintf("%s:%07d", ns, i+j))
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		s, ns := setup(b, func(o *Options) { o.MaxBytes = 1 << 30; o.MaxKeys = 1 << 30 })
		empty = used()
		for i := 0; i < records; i += 1000 {
			req := &storepb.BatchRequest{}
			for j := range 1000 {
				req.Changes = append(req.Changes, &storepb.Change{Record: &storepb.Record{Key: fmt.Sprintf("%s:%07d", ns, i+j), Value: value}})
			}
			if _, err := s.Batch(as(b, ns), req); err != nil {
				b.Fatal(err)
			}
		}
		ours := used() - empty
		b.ReportMetric(bare/records, "bare-bytes/record")
		b.ReportMetric(ours/records, "bytes/record")
		b.ReportMetric(ours/bare, "ratio")
	}
}

// serve serves the store on loopback to a member of a namespace.
func serve(b *testing.B, s *Service, ns string) storepb.StoreClient {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	member := identity.Caller{ID: "notes-1", Type: identity.Service, Namespace: ns, Scopes: []string{"service"}}
	server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		return handle(identity.With(ctx, member), req)
	}))
	storepb.RegisterStoreServer(server, s)
	go server.Serve(l) //nolint:errcheck // it ends with the benchmark
	b.Cleanup(server.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return storepb.NewStoreClient(conn)
}
