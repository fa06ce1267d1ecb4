package faults

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
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

// doubled are the components that have two instances here.
var doubled = []string{"auth", "config", "store", "registry"}

// TestRolling restarts every instance of components that are there twice, with
// certificates, under a load of calls. Not one fails when they are told to stop.
// When they are killed, no more calls fail than those they had in hand.
func TestRolling(t *testing.T) {
	t.Parallel()
	dir := shared(t)
	d, err := startDatabases(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	s, err := apart(t.Context(), platform.Config{Micro: micro, Dir: dir, TLS: true, Twice: doubled}, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); s.Platform.Stop() })
	for _, tt := range []struct {
		how  string
		stop func(name string)
		most int // calls that may fail at each stop
	}{
		{"SIGTERM", s.Platform.Leave, 0},
		{"SIGKILL", s.Platform.Kill, traffic},
	} {
		tr := newTraffic(s)
		ctx, end := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { tr.run(ctx) })
		stops := 0
		for began := time.Now(); stops == 0 || time.Since(began) < trialTime(t); {
			for _, name := range doubled {
				for _, instance := range []string{name, name + "/2"} {
					tt.stop(instance)
					stops++
					if err := s.Platform.Again(t.Context(), instance); err != nil {
						t.Fatal(err)
					}
					pauseUntil(ctx, time.Now().Add(minCalm))
				}
			}
		}
		end()
		running.Wait()
		t.Logf("%s of %d instances, one after the other:\n%s", tt.how, stops, tr)
		if failed := tr.failed(); failed > tt.most*stops {
			t.Errorf("%s: %d calls failed at %d stops", tt.how, failed, stops)
		}
	}
}

// traffic is how many calls of a kind are under way at once.
const traffic = 4

// Traffic calls components through the proxy and counts what fails.
type Traffic struct {
	site  *Site
	kinds map[string]func(ctx context.Context, n int) error

	mu     sync.Mutex
	counts map[string]*counted
}

type counted struct {
	calls, failed int
	slowest       time.Duration
	errors        map[string]int
}

func newTraffic(s *Site) *Traffic {
	records, settings, services, rules := storepb.NewStoreClient(s.conn), configpb.NewConfigClient(s.conn), registrypb.NewRegistryClient(s.conn), authpb.NewRulesClient(s.conn)
	blobs := storepb.NewBlobStoreClient(s.conn)
	return &Traffic{site: s, counts: map[string]*counted{}, kinds: map[string]func(context.Context, int) error{
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
	}}
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
		pauseUntil(ctx, time.Now().Add(100*time.Millisecond))
	}
	_, err = stream.CloseAndRecv()
	return err
}

func (x *Traffic) run(ctx context.Context) {
	var all sync.WaitGroup
	for kind := range x.kinds {
		for w := range traffic {
			all.Go(func() {
				for n := w; ctx.Err() == nil; n += traffic {
					x.one(ctx, kind, n)
					pauseUntil(ctx, time.Now().Add(10*time.Millisecond))
				}
			})
		}
	}
	all.Wait()
}

func (x *Traffic) one(ctx context.Context, kind string, n int) {
	token, err := x.site.accessToken(ctx)
	began := time.Now()
	if err == nil {
		call, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.WithoutCancel(ctx), "authorization", "Bearer "+token), 10*time.Second)
		err = x.kinds[kind](call, n)
		cancel()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.counts[kind]
	if c == nil {
		c = &counted{errors: map[string]int{}}
		x.counts[kind] = c
	}
	c.calls++
	c.slowest = max(c.slowest, time.Since(began))
	if err != nil {
		c.failed++
		c.errors[status.Convert(err).Message()]++
	}
}

func (x *Traffic) failed() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, c := range x.counts {
		n += c.failed
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
		fmt.Fprintf(w, "%s\t%d\t%d\t%v\t%v\t\n", kind, c.calls, c.failed, c.slowest.Round(time.Millisecond), c.errors)
	}
	w.Flush()
	return b.String()
}
