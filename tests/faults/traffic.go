package faults

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	authpb "github.com/micro/platform/proto/auth"
	configpb "github.com/micro/platform/proto/config"
	registrypb "github.com/micro/platform/proto/registry"
	storepb "github.com/micro/platform/proto/store"
	"github.com/micro/platform/tests/platform"
)

// traffic is how many calls of a kind are under way at once.
const traffic = 4

// Traffic is calls of several kinds, and counts what fails.
type Traffic struct {
	site  *Site
	kinds map[string]kind

	mu     sync.Mutex
	counts map[string]*counted
	ended  time.Time // when the last one was sent
}

// kind is one kind of calls.
type kind struct {
	call    func(ctx context.Context, n int) error
	workers int
	every   time.Duration // between the calls of a worker; who is behind calls at once
}

type counted struct {
	calls, failed int
	took          []time.Duration
	answers       []time.Time
	gap           time.Duration
	errors        map[string]int
}

func newTraffic(s *Site) *Traffic {
	records, settings, services, rules := storepb.NewStoreClient(s.conn), configpb.NewConfigClient(s.conn), registrypb.NewRegistryClient(s.conn), authpb.NewRulesClient(s.conn)
	blobs := storepb.NewBlobStoreClient(s.conn)
	x := &Traffic{site: s, counts: map[string]*counted{}, kinds: map[string]kind{}}
	for name, call := range map[string]func(context.Context, int) error{
		"store write": func(ctx context.Context, n int) error {
			_, err := records.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: fmt.Sprint(n), Value: []byte("rolling")}})
			return err
		},
		"config set": func(ctx context.Context, n int) error {
			_, err := settings.Set(ctx, &configpb.SetRequest{Path: fmt.Sprintf("rolling.s%d", n%slots), Value: &configpb.Value{Data: "1"}})
			return err
		},
		"registry list": func(ctx context.Context, _ int) error {
			_, err := services.ListServices(ctx, &registrypb.ListRequest{})
			return err
		},
		"auth rules": func(ctx context.Context, _ int) error {
			_, err := rules.List(ctx, &authpb.ListRequest{})
			return err
		},
		"slow upload": func(ctx context.Context, n int) error { return slowly(ctx, blobs, fmt.Sprintf("rolling/%d", n%slots)) },
	} {
		x.kinds[name] = kind{call, traffic, 20 * time.Millisecond}
	}
	return x
}

// slowly writes a blob over a second, in a stream.
func slowly(ctx context.Context, blobs storepb.BlobStoreClient, key string) error {
	stream, err := blobs.Write(ctx)
	if err != nil {
		return err
	}
	for range 10 {
		if err := stream.Send(&storepb.BlobWriteRequest{Key: key, Blob: filler(ID{}, 1000)}); err != nil {
			break // what went wrong comes with the answer
		}
		platform.Until(ctx, time.Now().Add(100*time.Millisecond))
	}
	_, err = stream.CloseAndRecv()
	return err
}

func (x *Traffic) run(ctx context.Context) {
	var all sync.WaitGroup
	for name, k := range x.kinds {
		for w := range k.workers {
			all.Go(func() {
				due := time.Now()
				for n := w; platform.Until(ctx, due); n += k.workers {
					due = due.Add(k.every)
					x.one(ctx, name, n)
				}
			})
		}
	}
	<-ctx.Done()
	x.mu.Lock()
	x.ended = time.Now()
	x.mu.Unlock()
	all.Wait()
}

func (x *Traffic) one(ctx context.Context, name string, n int) {
	token, err := x.site.accessToken(ctx)
	began := time.Now()
	if err == nil {
		call, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.WithoutCancel(ctx), "authorization", "Bearer "+token), 10*time.Second)
		err = x.kinds[name].call(call, n)
		cancel()
	}
	x.note(name, time.Since(began), err)
}

// note counts a call.
func (x *Traffic) note(name string, took time.Duration, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.counts[name]
	if c == nil {
		c = &counted{errors: map[string]int{}}
		x.counts[name] = c
	}
	c.calls++
	c.took = append(c.took, took)
	if err != nil {
		c.failed++
		c.errors[status.Convert(err).Message()]++
		return
	}
	now := time.Now()
	if n := len(c.answers); n > 0 {
		c.gap = max(c.gap, now.Sub(c.answers[n-1]))
	}
	c.answers = append(c.answers, now)
}

// again is how long after a moment calls of every kind were answered. It is
// longer than all others if some never were.
func (x *Traffic) again(since time.Time) (slowest time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.counts {
		i, _ := slices.BinarySearchFunc(c.answers, since, time.Time.Compare)
		if i == len(c.answers) {
			return math.MaxInt64
		}
		slowest = max(slowest, c.answers[i].Sub(since))
	}
	return slowest
}

// gap is the longest time in which no call of a kind was answered, but of those
// kinds: also that from the last answer to the end. It is longer than all others if
// none of a kind ever was.
func (x *Traffic) gap(without ...string) (longest time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for kind, c := range x.counts {
		if slices.Contains(without, kind) {
			continue
		}
		if len(c.answers) == 0 {
			return math.MaxInt64
		}
		longest = max(longest, c.gap, x.ended.Sub(c.answers[len(c.answers)-1]))
	}
	return longest
}

// all is how many calls were made, and failed how many of them failed.
func (x *Traffic) all() int    { return x.sum(func(c *counted) int { return c.calls }) }
func (x *Traffic) failed() int { return x.sum(func(c *counted) int { return c.failed }) }

func (x *Traffic) sum(of func(*counted) int) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.counts {
		n += of(c)
	}
	return n
}

// String is a table of the calls.
func (x *Traffic) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "what\tcalls\tfailed\tslowest\terrors\t")
	for _, kind := range slices.Sorted(maps.Keys(x.counts)) {
		c := x.counts[kind]
		fmt.Fprintf(w, "%s\t%d\t%d\t%v\t%v\t\n", kind, c.calls, c.failed, slices.Max(c.took).Round(time.Millisecond), c.errors)
	}
	w.Flush()
	return b.String()
}
