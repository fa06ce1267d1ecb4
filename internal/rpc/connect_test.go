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
		{"at once", 0, []time.Duration{0}, false, false, 0, nil},
		{"refused", 0, []time.Duration{time.Millisecond}, true, false, time.Millisecond, syscall.ECONNREFUSED},
		{"late", 0, []time.Duration{300 * time.Millisecond, never}, false, false, 300 * time.Millisecond, nil},
		{"the first is lost", 0, []time.Duration{never, time.Millisecond}, false, false, askEvery + time.Millisecond, nil},
		{"two answer at the same time", 0, []time.Duration{askEvery + time.Millisecond, time.Millisecond}, false, false, askEvery + time.Millisecond, nil},
		{"two are lost", 0, []time.Duration{never, never, time.Millisecond}, false, false, 2*askEvery + time.Millisecond, nil},
		{"nobody answers", 0, slices.Repeat([]time.Duration{never}, asks), false, false, asks * askEvery, syscall.ETIMEDOUT},
		{"it is silent, and answers", 0, []time.Duration{never, time.Millisecond}, false, true, askEvery + time.Millisecond, nil},
		{"it is silent", 0, slices.Repeat([]time.Duration{never}, asksSilent), false, true, asksSilent * askEvery, syscall.ETIMEDOUT},
		{"the name takes long", 5 * time.Second, []time.Duration{0}, false, false, 5 * time.Second, nil},
		{"it does, and nobody answers", 2 * time.Second, slices.Repeat([]time.Duration{never}, asks), false, false, 2*time.Second + asks*askEvery, syscall.ETIMEDOUT},
		{"the kernel gives up", 0, append([]time.Duration{kernelGivesUp}, slices.Repeat([]time.Duration{never}, asks-1)...), false, false, asks * askEvery, syscall.ETIMEDOUT},
		{"the caller gives up", 0, []time.Duration{never, never}, false, false, 300 * time.Millisecond, context.Canceled},
		{"before there is an address", never, nil, false, false, 300 * time.Millisecond, context.Canceled},
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
