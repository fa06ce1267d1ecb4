package tests

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/internal/redistest"
	storepb "github.com/micro/platform/proto/store"
	"github.com/micro/platform/tests/platform"
	"github.com/micro/platform/tests/platform/platformtest"
)

// The records that are read and written, and who does so at once.
const (
	storeRecords = 10_000
	storeCallers = 64
)

func storeKey(i int64) string { return fmt.Sprintf("orders/%03d/%03d", i/100%100, i%100) }

// BenchmarkStore compares reads and writes of 1 KB through the proxy with the
// same on the same Redis by go-redis, each acknowledged when it is on disk, and
// with a gRPC server that does nothing, which is the least that any server with
// this API costs. The ways take turns in short rounds, so that all see the same
// machine. Per core means by the CPU time that everybody used together: callers,
// platform and Redis.
func BenchmarkStore(b *testing.B) {
	url := redistest.Durable(b)
	p := platformtest.Start(b, platform.Config{Micro: micro, Env: []string{"MICRO_DURABLE_REDIS_URL=" + url}})
	bare, through := bareStore(b, url), proxyStore(b, p)
	value := make([]byte, 1<<10)
	empty := emptyStore(b, value, through.token)
	cpu := cpuTimes{platform: p.Processes()["server"], redis: redisProcess(b, bare)}
	if err := fillStore(b.Context(), bare, through, value); err != nil {
		b.Fatal(err)
	}
	for _, op := range []struct {
		name                 string
		bare, through, empty func(i int64) error
	}{
		{
			"write",
			func(i int64) error { return bare.Set(b.Context(), storeKey(i), value, 0).Err() },
			func(i int64) error { return through.write(b.Context(), storeKey(i), value) },
			func(i int64) error { return empty.write(b.Context(), storeKey(i), value) },
		},
		{
			"read",
			func(i int64) error { return bare.Get(b.Context(), storeKey(i)).Err() },
			func(i int64) error { return through.read(b.Context(), storeKey(i)) },
			func(i int64) error { return empty.read(b.Context(), storeKey(i)) },
		},
	} {
		b.Run(op.name, func(b *testing.B) {
			var ways [3]spent
			for b.Loop() {
				for w, call := range []func(int64) error{op.bare, op.through, op.empty} {
					ways[w].add(cpu.round(b, call))
				}
			}
			ways[0].report(b, "bare")
			ways[1].report(b, "proxy")
			b.ReportMetric(ways[2].perCore(), "empty-gRPC-ops/s/core")
			b.ReportMetric(ways[1].perCore()/ways[0].perCore(), "ratio/core")
			b.ReportMetric(ways[1].perSecond()/ways[0].perSecond(), "ratio/s")
		})
	}
}

func bareStore(b *testing.B, url string) *redis.Client {
	b.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		b.Fatal(err)
	}
	o.PoolSize = storeCallers
	c := redis.NewClient(o)
	b.Cleanup(func() { c.Close() })
	return c
}

// storeClient calls the store through the proxy, with a person's token.
type storeClient struct {
	storepb.StoreClient
	token string
}

func proxyStore(b *testing.B, p *platform.Platform) storeClient {
	b.Helper()
	alice, err := p.Person(b.Context(), "alice")
	if err != nil {
		b.Fatal(err)
	}
	if out, err := alice.Signup(b.Context(), "correct horse battery staple", "alice-space"); err != nil {
		b.Fatal(err, out)
	}
	conn, err := grpc.NewClient(p.Proxy, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return storeClient{storepb.NewStoreClient(conn), strings.TrimSpace(must(b, alice, "micro user token"))}
}

// nothing is a store that does nothing.
type nothing struct {
	storepb.UnimplementedStoreServer
	record *storepb.Record
}

func (n nothing) Write(context.Context, *storepb.WriteRequest) (*storepb.WriteResponse, error) {
	return &storepb.WriteResponse{Version: 1}, nil
}

func (n nothing) Read(context.Context, *storepb.ReadRequest) (*storepb.ReadResponse, error) {
	return &storepb.ReadResponse{Records: []*storepb.Record{n.record}}, nil
}

func emptyStore(b *testing.B, value []byte, token string) storeClient {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := grpc.NewServer()
	storepb.RegisterStoreServer(s, nothing{record: &storepb.Record{Key: storeKey(0), Value: value}})
	go s.Serve(l) //nolint:errcheck // it ends with the benchmark
	b.Cleanup(s.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return storeClient{storepb.NewStoreClient(conn), token}
}

func (c storeClient) as(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.token)
}

func (c storeClient) write(ctx context.Context, key string, value []byte) error {
	_, err := c.Write(c.as(ctx), &storepb.WriteRequest{Record: &storepb.Record{Key: key, Value: value}})
	return err
}

func (c storeClient) read(ctx context.Context, key string) error {
	_, err := c.Read(c.as(ctx), &storepb.ReadRequest{Key: key})
	return err
}

// fillStore writes all records, a thousand at a time.
func fillStore(ctx context.Context, bare *redis.Client, through storeClient, value []byte) error {
	const batch = 1000
	for first := int64(0); first < storeRecords; first += batch {
		req := &storepb.BatchRequest{}
		pipe := bare.Pipeline()
		for i := first; i < first+batch; i++ {
			pipe.Set(ctx, storeKey(i), value, 0)
			req.Changes = append(req.Changes, &storepb.Change{Record: &storepb.Record{Key: storeKey(i), Value: value}})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		if _, err := through.Batch(through.as(ctx), req); err != nil {
			return err
		}
	}
	return nil
}

func redisProcess(b *testing.B, c *redis.Client) int {
	b.Helper()
	info, err := c.InfoMap(b.Context(), "server").Result()
	if err != nil {
		b.Fatal(err)
	}
	pid, err := strconv.Atoi(info["Server"]["process_id"])
	if err != nil {
		b.Fatal(err)
	}
	return pid
}

// spent is what some calls took.
type spent struct {
	calls                    int64
	wall                     time.Duration
	callers, platform, redis time.Duration // of CPU
}

func (s *spent) add(o spent) {
	s.calls += o.calls
	s.wall += o.wall
	s.callers += o.callers
	s.platform += o.platform
	s.redis += o.redis
}

func (s spent) perSecond() float64 { return float64(s.calls) / s.wall.Seconds() }

func (s spent) perCore() float64 {
	return float64(s.calls) / (s.callers + s.platform + s.redis).Seconds()
}

func (s spent) report(b *testing.B, way string) {
	b.ReportMetric(s.perSecond(), way+"-ops/s")
	b.ReportMetric(s.perCore(), way+"-ops/s/core")
	for _, x := range []struct {
		who string
		cpu time.Duration
	}{{"callers", s.callers}, {"platform", s.platform}, {"redis", s.redis}} {
		b.ReportMetric(float64(x.cpu.Microseconds())/float64(s.calls), way+"-"+x.who+"-cpu-µs/op")
	}
}

// cpuTimes reads what the processes have used.
type cpuTimes struct{ platform, redis int }

// roundTime is how long a way has its turn.
const roundTime = time.Second

// round makes calls for a while.
func (c cpuTimes) round(b *testing.B, call func(i int64) error) spent {
	b.Helper()
	before, began := c.read(b), time.Now()
	var calls atomic.Int64
	errs := make(chan error, storeCallers)
	var done sync.WaitGroup
	for range storeCallers {
		done.Go(func() {
			for time.Since(began) < roundTime {
				if err := call(calls.Add(1)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	done.Wait()
	select {
	case err := <-errs:
		b.Fatal(err)
	default:
	}
	after := c.read(b)
	return spent{
		calls: calls.Load(), wall: time.Since(began),
		callers: after.callers - before.callers, platform: after.platform - before.platform, redis: after.redis - before.redis,
	}
}

func (c cpuTimes) read(b *testing.B) spent {
	b.Helper()
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		b.Fatal(err)
	}
	return spent{
		callers:  time.Duration(self.Utime.Nano() + self.Stime.Nano()),
		platform: cpuTime(b, []int{c.platform}), redis: cpuTime(b, []int{c.redis}),
	}
}
