package swarm

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	hostpb "github.com/micro/platform/proto/host"
)

// TestEndsAreTold: each end is told until it is heard, the latest of each address,
// and one that is not heard does not keep others waiting.
func TestEndsAreTold(t *testing.T) {
	t.Parallel()
	d := New(nil, Options{}, slog.New(slog.DiscardHandler))
	began := d.now()
	end := func(namespace string, seconds int) {
		at := began.Add(time.Duration(seconds) * time.Second).UnixMicro()
		d.noteEnded(&hostpb.Container{Namespace: namespace, Ip: "10.0.0.2"}, &hostpb.Container{Ended: at})
	}
	end("deaf", 0)
	end("slow", 0)
	end("good", 2)
	end("good", 1) // heard of late
	ctx, stop := context.WithCancel(t.Context())
	var mu sync.Mutex
	var tries int
	heard, done := make(chan Ended, 10), make(chan error, 1)
	go func() {
		done <- d.TellEnded(ctx, func(_ context.Context, e Ended) error {
			switch e.Namespace {
			case "deaf":
				return errors.New("never")
			case "slow":
				mu.Lock()
				defer mu.Unlock()
				if tries++; tries < 3 {
					return errors.New("not now")
				}
			}
			heard <- e
			return nil
		})
	}()
	t.Cleanup(func() { stop(); <-done })
	if e := <-heard; e.Namespace != "good" || e.at.Sub(began).Round(time.Second) != 2*time.Second || e.Ago > 0 {
		t.Errorf("heard %v", e)
	}
	for timeout := time.After(60 * time.Second); ; {
		select {
		case e := <-heard:
			if e.Namespace != "slow" {
				t.Errorf("heard %v", e)
			}
			return
		case <-timeout:
			t.Fatal("it was given up")
		}
	}
}
