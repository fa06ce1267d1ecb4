package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/linetest"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/stale"
	storepb "github.com/micro/platform/proto/store"
)

// soon is more than what goes on takes on a busy machine; awhile shows that a
// write waits.
const soon, awhile = 5 * time.Second, 3 * stale.Patience

// process is a store whose looks at namespaces go over a line of their own, and
// whose clock can be put forward.
type process struct {
	*Service

	namespace string
	line      linetest.Line
	ahead     atomic.Int64
}

// startProcess answers one that has a connection to look through. No look ends
// by itself when that falls silent.
func startProcess(t *testing.T, keys int64) *process {
	t.Helper()
	o, err := redis.ParseURL(redistest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{}
	o.Dialer, o.MaxRetries, o.ReadTimeout = p.line.Dial, -1, time.Minute
	looks := redis.NewClient(o)
	t.Cleanup(func() {
		p.line.Close()
		looks.Close()
	})
	p.Service, p.namespace = setup(t, func(o *Options) { o.MaxKeys = keys })
	p.usage = newUsage(db{redis: looks}, func() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) })
	if _, err := p.usage.Get(t.Context(), redistest.Namespace(t), freshness); err != nil {
		t.Fatal(err)
	}
	return p
}

// put writes a record to a table, if it can within a time.
func (p *process) put(t *testing.T, table string, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(as(t, p.namespace), within)
	defer cancel()
	_, err := p.Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: "k"}, Options: &storepb.WriteOptions{Table: table}})
	return err
}

// startFull answers one that knows of one record of the two that its namespace
// may have; another process has written the second.
func startFull(t *testing.T) *process {
	t.Helper()
	p, other := startProcess(t, 2), startProcess(t, 2)
	other.namespace = p.namespace
	if err := p.put(t, "here", soon); err != nil {
		t.Fatal(err)
	}
	if err := other.put(t, "there", soon); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestLook shows that what is not fresh any more does not decide while Redis
// answers.
func TestLook(t *testing.T) {
	t.Parallel()
	p := startFull(t)
	p.ahead.Add(int64(stale.MaxAge - freshness))
	began := time.Now()
	err := p.put(t, "over", soon)
	if took := time.Since(began); errors.Code(err) != codes.ResourceExhausted && took < stale.Patience {
		t.Errorf("a write over the limit after %v = %v, want ResourceExhausted", took, err)
	}
}

// TestLateLook shows that writes go on while a look at their namespace hangs, and
// that the limit which another process has used up holds when what is known here
// is too old.
func TestLateLook(t *testing.T) {
	t.Parallel()
	p := startFull(t)
	p.line.Silence()
	p.ahead.Add(int64(2 * freshness))
	const writes = 50
	began := time.Now()
	for range writes {
		if err := p.put(t, "over", soon); err != nil {
			t.Fatalf("a write while the look hangs: %v", err)
		}
	}
	if took := time.Since(began); took > writes*stale.Patience/2 {
		t.Errorf("%d writes took %v: each waited for the look", writes, took)
	}
	p.ahead.Add(int64(stale.MaxAge))
	if err := p.put(t, "more", awhile); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a write by what is too old = %v, want it to wait", err)
	}
	p.line.Close() // the look fails; the next does not
	until(t, "the limit holds", func() bool {
		err := p.put(t, "more", soon)
		if err == nil {
			t.Fatal("a write went over the limit")
		}
		return errors.Code(err) == codes.ResourceExhausted
	})
}

// TestFailedLook shows that writes go on when the look at their namespace fails.
func TestFailedLook(t *testing.T) {
	t.Parallel()
	p := startProcess(t, 10)
	for i := range 3 {
		if err := p.put(t, fmt.Sprint(i), soon); err != nil {
			t.Fatal(err)
		}
		p.line.Close()
		p.ahead.Add(int64(2 * freshness))
	}
}

// TestFirstLook shows that a namespace which nothing is known of waits.
func TestFirstLook(t *testing.T) {
	t.Parallel()
	p := startProcess(t, 1)
	p.line.Silence()
	if err := p.put(t, "a", awhile); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the first write = %v, want it to wait", err)
	}
	p.line.Close()
	until(t, "the look is made again", func() bool { return p.put(t, "a", soon) == nil })
}

// TestForgotten shows that nobody goes on with what was forgotten, nor waits for
// a look that began before.
func TestForgotten(t *testing.T) {
	t.Parallel()
	p := startProcess(t, 1)
	if err := p.put(t, "a", soon); err != nil {
		t.Fatal(err)
	}
	p.line.Silence()
	p.ahead.Add(int64(2 * freshness))
	if err := p.put(t, "a", soon); err != nil {
		t.Fatal(err)
	}
	if _, err := p.DropTable(as(t, p.namespace), &storepb.DropTableRequest{Table: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := p.put(t, "b", soon); err != nil {
		t.Errorf("a write in place of a dropped record: %v", err)
	}
}
