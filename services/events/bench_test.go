package events

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/internal/porttest"
	eventspb "github.com/micro/platform/proto/events"
)

// callers is how many publish at once.
const callers = 64

// durable starts a Redis that has on disk what it acknowledges.
func durable(b *testing.B) *redis.Client {
	b.Helper()
	port, err := porttest.Reserve()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("redis-server", "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", b.TempDir(), "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() }) //nolint:errcheck // it is killed
	c := redis.NewClient(&redis.Options{Addr: net.JoinHostPort("127.0.0.1", fmt.Sprint(port))})
	b.Cleanup(func() { c.Close() })
	for c.Ping(b.Context()).Err() != nil {
		<-time.After(10 * time.Millisecond)
	}
	return c
}

// spread runs f b.N times by callers at once, and reports the rate.
func spread(b *testing.B, f func(ctx context.Context) error) {
	b.Helper()
	ctx := as(b.Context(), "acme")
	if err := f(ctx); err != nil {
		b.Fatal(err)
	}
	work := make(chan struct{}, callers)
	var wg sync.WaitGroup
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for range work {
				if err := f(ctx); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
}

// BenchmarkPublish compares publishing with the same on bare Redis, durably, with
// 1 KB of payload.
func BenchmarkPublish(b *testing.B) {
	c := durable(b)
	o := options()
	p := start(b, c, o)
	payload := make([]byte, 1<<10)
	blob, err := proto.Marshal(&eventspb.Event{Payload: payload, Timestamp: 1})
	if err != nil {
		b.Fatal(err)
	}
	per := func(b *testing.B, events int) {
		b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
	}
	b.Run("bare", func(b *testing.B) {
		spread(b, func(ctx context.Context) error {
			return c.XAdd(ctx, &redis.XAddArgs{Stream: "bare", Values: []any{"e", blob}}).Err()
		})
		per(b, 1)
	})
	b.Run("events", func(b *testing.B) {
		spread(b, func(ctx context.Context) error {
			_, err := p.Publish(ctx, &eventspb.PublishRequest{Topic: "bench", Payload: payload})
			return err
		})
		per(b, 1)
	})
	batch := make([]*eventspb.Event, 100)
	for i := range batch {
		batch[i] = &eventspb.Event{Payload: payload}
	}
	b.Run("batches of 100", func(b *testing.B) {
		spread(b, func(ctx context.Context) error {
			_, err := p.PublishBatch(ctx, &eventspb.PublishBatchRequest{Topic: "bench", Events: batch})
			return err
		})
		per(b, len(batch))
	})
}

// BenchmarkPublishToConsume is the time from the call of Publish to the event at
// its consumer, one at a time, beside the same by XADD and a blocking read.
func BenchmarkPublishToConsume(b *testing.B) {
	c := durable(b)
	p := start(b, c, options())
	b.Run("bare", func(b *testing.B) {
		if err := c.XGroupCreateMkStream(b.Context(), "bare", "g", "$").Err(); err != nil {
			b.Log(err) // of an earlier round
		}
		got := make(chan struct{})
		go func() {
			for range b.N {
				err := c.XReadGroup(b.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{"bare", ">"}, Count: 1, NoAck: true}).Err()
				if err != nil {
					b.Error(err)
				}
				got <- struct{}{}
			}
		}()
		median(b, func() {
			if err := c.XAdd(b.Context(), &redis.XAddArgs{Stream: "bare", Values: []any{"e", "x"}}).Err(); err != nil {
				b.Error(err)
			}
			<-got
		})
	})
	for _, group := range []string{"", "g"} {
		b.Run("events, group "+group, func(b *testing.B) {
			s := consume(b, p, "acme", auto("latency", group))
			median(b, func() {
				publish(b, p, "acme", "latency", "x")
				s.next(b)
			})
			s.close()
		})
	}
}

func median(b *testing.B, f func()) {
	b.Helper()
	took := make([]time.Duration, 0, b.N)
	for range b.N {
		began := time.Now()
		f()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
}
