package rpc

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/micro/platform/framework/errors"
)

// TestConnect asks a host that answers late, never, or with an error.
func TestConnect(t *testing.T) {
	t.Parallel()
	const never, kernelGivesUp = time.Hour, kernelSilence
	for _, tt := range []struct {
		name   string
		lookup time.Duration
		answer []time.Duration // of each try
		refuse bool
		silent bool // it is found to be after lookup
		want   time.Duration
		err    error
	}{
		{name: "at once", answer: []time.Duration{0}},
		{name: "refused", answer: []time.Duration{time.Millisecond}, refuse: true, want: time.Millisecond, err: syscall.ECONNREFUSED},
		{name: "late", answer: []time.Duration{300 * time.Millisecond, never}, want: 300 * time.Millisecond},
		{name: "the first is lost", answer: []time.Duration{never, time.Millisecond}, want: askEvery + time.Millisecond},
		{name: "two answer at the same time", answer: []time.Duration{askEvery + time.Millisecond, time.Millisecond}, want: askEvery + time.Millisecond},
		{name: "two are lost", answer: []time.Duration{never, never, time.Millisecond}, want: 2*askEvery + time.Millisecond},
		{name: "nobody answers", answer: slices.Repeat([]time.Duration{never}, asks), want: asks * askEvery, err: syscall.ETIMEDOUT},
		{name: "it is silent, and answers", answer: []time.Duration{never, time.Millisecond}, silent: true, want: askEvery + time.Millisecond},
		{name: "it is silent", answer: slices.Repeat([]time.Duration{never}, asksSilent), silent: true, want: asksSilent * askEvery, err: syscall.ETIMEDOUT},
		{name: "the name takes long", lookup: 5 * time.Second, answer: []time.Duration{0}, want: 5 * time.Second},
		{name: "it does, and nobody answers", lookup: 2 * time.Second, answer: slices.Repeat([]time.Duration{never}, asks), want: 2*time.Second + asks*askEvery, err: syscall.ETIMEDOUT},
		{name: "the kernel gives up", answer: append([]time.Duration{kernelGivesUp}, slices.Repeat([]time.Duration{never}, asks-1)...), want: asks * askEvery, err: syscall.ETIMEDOUT},
		{name: "the caller gives up", answer: []time.Duration{never, never}, want: 300 * time.Millisecond, err: context.Canceled},
		{name: "before there is an address", lookup: never, want: 300 * time.Millisecond, err: context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // it fails if a try does not end
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.err == context.Canceled {
					time.AfterFunc(tt.want, cancel)
				}
				next := make(chan time.Duration, len(tt.answer))
				for _, a := range tt.answer {
					next <- a
				}
				var open atomic.Int32
				began := time.Now()
				address := tt.name + ":1" // its own
				quiet.set(address, false)
				if tt.silent {
					time.AfterFunc(tt.lookup, func() { quiet.set(tt.name+":2", true) })
				}
				conn, err := connect(ctx, address, func(ctx context.Context, asked func()) (net.Conn, error) {
					if !after(ctx, tt.lookup) {
						return nil, ctx.Err()
					}
					asked()
					takes := <-next
					if !after(ctx, takes) {
						return nil, ctx.Err()
					}
					if takes == kernelGivesUp {
						return nil, syscall.ETIMEDOUT
					}
					if tt.refuse {
						return nil, syscall.ECONNREFUSED
					}
					open.Add(1)
					return counted{open: &open}, nil
				})
				if took := time.Since(began); took != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("%v after %v, want %v after %v", err, took, tt.err, tt.want)
				}
				if goesOn := tt.silent && tt.err != nil; quiet.is(address) != goesOn {
					t.Errorf("the host counts as silent: %v", quiet.is(address))
				}
				synctest.Wait()
				if conn != nil {
					conn.Close()
				}
				if n := open.Load(); n != 0 {
					t.Errorf("%d connections are open that nobody has", n)
				}
			})
		})
	}
}

// after waits, and is false if ctx ends before.
func after(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// counted is a connection that is open until it is closed.
type counted struct {
	net.Conn
	open *atomic.Int32
}

// Close implements net.Conn.
func (c counted) Close() error {
	c.open.Add(-1)
	return nil
}
