package faults

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
)

// doubled are the components that have two instances here.
var doubled = []string{"auth", "config", "store", "registry"}

// TestRolling restarts every instance of components that are there twice, with
// certificates, under a load of calls. Not one fails when they are told to stop.
// When they are killed, no more calls fail than those they had in hand.
func TestRolling(t *testing.T) {
	t.Parallel()
	s, _ := site(t, platform.Config{TLS: true, Twice: doubled})
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
					platform.Until(ctx, time.Now().Add(minCalm))
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
