package tests

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/events"
	"github.com/micro/platform/internal/porttest"
	eventspb "github.com/micro/platform/proto/events"
)

const (
	// eventCallers is how many publish at once, each one event at a time, and
	// manyCallers is how many do where the rate counts and not the latency.
	eventCallers = 64
	manyCallers  = 512
	// eventSize is of a payload, in bytes.
	eventSize = 1 << 10
	// sustained is how long publishers and a consumer are at it.
	sustained = 10 * time.Second
)

// BenchmarkEvents publishes and consumes at the same time, with everything on
// disk before it is answered, and everything acknowledged: by bare go-redis, by
// plain calls through the proxy, and by the framework through the proxy. The
// load's own work is done on the same cores, and not counted in cpu-µs/event.
func BenchmarkEvents(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		c, pid := bareRedis(b)
		measure(b, []int{pid}, eventCallers, bareEvents{c})
	})
	p := startBench(b)
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
	token := strings.TrimSpace(must(b, alice, "micro user token"))
	x := client.New(conn, client.Options{Token: func(context.Context) (string, error) { return token, nil }})
	server := p.Processes()["server"]
	all := append(children(b, server), server)
	b.Run("calls", func(b *testing.B) { measure(b, all, eventCallers, plainEvents{x, events.New(x)}) })
	b.Run("framework", func(b *testing.B) { measure(b, all, eventCallers, frameworkEvents{events.New(x)}) })
	b.Run("framework with 512 callers", func(b *testing.B) { measure(b, all, manyCallers, frameworkEvents{events.New(x)}) })
}

// load is a way to publish and consume a topic.
type load interface {
	publish(ctx context.Context, topic string, payload []byte) error
	// consume calls got for each event until ctx ends, and then answers.
	consume(ctx context.Context, topic string, ready func(), got func(payload []byte)) error
}

// measure runs a load for a while. The processes' CPU time is shared out among
// the events.
func measure(b *testing.B, processes []int, callers int, l load) {
	b.Helper()
	var published, consumed atomic.Int64
	var late []time.Duration // of some events, from before publish to the consumer
	var cpu, took time.Duration
	for n := 0; b.Loop(); n++ {
		topic := fmt.Sprintf("bench-%s-%d", filepath.Base(b.Name()), n)
		consuming, stop := context.WithCancel(b.Context())
		ready, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- l.consume(consuming, topic, sync.OnceFunc(func() { close(ready) }), func(payload []byte) {
				if n := consumed.Add(1); n%16 == 0 {
					at, _ := strconv.ParseInt(string(payload[:19]), 10, 64)
					late = append(late, time.Duration(time.Now().UnixNano()-at))
				}
			})
		}()
		<-ready
		before, began := cpuTime(b, processes), time.Now()
		publishing, done := context.WithTimeout(b.Context(), sustained)
		var publishers sync.WaitGroup
		for range callers {
			publishers.Go(func() {
				payload := make([]byte, eventSize)
				for publishing.Err() == nil {
					strconv.AppendInt(payload[:0], time.Now().UnixNano(), 10)
					if err := l.publish(b.Context(), topic, payload); err != nil {
						b.Error(err)
						return
					}
					published.Add(1)
				}
			})
		}
		publishers.Wait()
		done()
		for deadline := time.Now().Add(time.Minute); consumed.Load() < published.Load(); <-time.After(time.Millisecond) {
			if time.Now().After(deadline) {
				b.Fatalf("%d events of %d came", consumed.Load(), published.Load())
			}
		}
		took += time.Since(began)
		cpu += cpuTime(b, processes) - before
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
	slices.Sort(late)
	b.ReportMetric(float64(consumed.Load())/took.Seconds(), "events/s")
	b.ReportMetric(float64(cpu.Microseconds())/float64(consumed.Load()), "cpu-µs/event")
	b.ReportMetric(float64(late[len(late)/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(late[len(late)*99/100].Microseconds()), "µs-p99")
	b.ReportMetric(0, "ns/op")
}

// bareEvents is what go-redis does with a command for each event.
type bareEvents struct{ c *redis.Client }

func (l bareEvents) publish(ctx context.Context, topic string, payload []byte) error {
	return l.c.XAdd(ctx, &redis.XAddArgs{Stream: topic, Values: []any{"e", payload}}).Err()
}

func (l bareEvents) consume(ctx context.Context, topic string, ready func(), got func([]byte)) error {
	if err := l.c.XGroupCreateMkStream(ctx, topic, "g", "$").Err(); err != nil {
		return err
	}
	ready()
	for ctx.Err() == nil {
		streams, err := l.c.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{topic, ">"}, Count: 128, Block: time.Second}).Result()
		if err != nil {
			continue // nothing came, or it is over
		}
		var ids []string
		for _, m := range streams[0].Messages {
			text, _ := m.Values["e"].(string)
			got([]byte(text))
			ids = append(ids, m.ID)
		}
		if err := l.c.XAck(context.WithoutCancel(ctx), topic, "g", ids...).Err(); err != nil {
			return err
		}
	}
	return nil
}

// frameworkEvents is what a service does.
type frameworkEvents struct{ s *events.Stream }

func (l frameworkEvents) publish(_ context.Context, topic string, payload []byte) error {
	return l.s.Publish(topic, slices.Clone(payload))
}

func (l frameworkEvents) consume(ctx context.Context, topic string, ready func(), got func([]byte)) error {
	all, err := l.s.Consume(topic, events.WithContext(ctx), events.WithGroup("g"), events.WithOffset(time.Now()), events.WithAutoAck(false, time.Minute), events.WithWindow(1000))
	if err != nil {
		return err
	}
	ready()
	for e := range all {
		got(e.Payload)
		if err := e.Ack(); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// plainEvents publishes with a call for each event, as other clients do.
type plainEvents struct {
	c client.Client
	s *events.Stream
}

func (l plainEvents) publish(ctx context.Context, topic string, payload []byte) error {
	req := &eventspb.PublishRequest{Topic: topic, Payload: payload, Timestamp: time.Now().Unix()}
	return l.c.Call(ctx, l.c.NewRequest("events", "Stream.Publish", req), &eventspb.PublishResponse{}, client.WithAuthToken())
}

func (l plainEvents) consume(ctx context.Context, topic string, ready func(), got func([]byte)) error {
	return frameworkEvents{l.s}.consume(ctx, topic, ready, got)
}

// bareRedis starts a Redis with the settings of the platform's.
func bareRedis(b *testing.B) (*redis.Client, int) {
	b.Helper()
	port, err := porttest.Reserve()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", b.TempDir(), "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() }) //nolint:errcheck // it is killed
	c := redis.NewClient(&redis.Options{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), PoolSize: 2 * eventCallers})
	b.Cleanup(func() { c.Close() })
	for c.Ping(b.Context()).Err() != nil {
		<-time.After(10 * time.Millisecond)
	}
	return c, cmd.Process.Pid
}

// children answers the processes that a process has started.
func children(b *testing.B, pid int) []int {
	b.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		b.Fatal(err)
	}
	var out []int
	for _, l := range lists {
		text, err := os.ReadFile(l)
		if err != nil {
			continue // a thread that has ended
		}
		for _, f := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(f); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

// tick is the unit of CPU time in /proc.
const tick = 10 * time.Millisecond

// cpuTime answers the CPU time that processes have used.
func cpuTime(b *testing.B, processes []int) time.Duration {
	b.Helper()
	var ticks int
	for _, pid := range processes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), ") ") // the name before may hold anything
		fields := strings.Fields(rest)
		for _, f := range fields[11:13] { // user and system
			n, err := strconv.Atoi(f)
			if err != nil {
				b.Fatal(err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * tick
}
