package telemetry

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestGateAndWatch shows that a gate may take a lock under which others say what a
// component stands on: an edge's asks for connections, which are watched.
func TestGateAndWatch(t *testing.T) {
	t.Parallel()
	h := NewHealth()
	h.Started()
	var connections sync.Mutex
	atGate, watched := make(chan struct{}), make(chan struct{})
	h.Gate("edge", func() error {
		close(atGate)
		connections.Lock()
		defer connections.Unlock()
		return errors.New("no rules")
	})
	connections.Lock()
	go func() {
		defer close(watched)
		defer connections.Unlock()
		<-atGate
		h.Watch("edge", "store", false, nil)
	}()
	reported := make(chan Report, 1)
	go func() { reported <- h.Report() }()
	var report Report
	select {
	case report = <-reported:
	case <-time.After(10 * time.Second):
		t.Fatal("they wait for each other")
	}
	<-watched
	if want := []string{"edge: no rules"}; !slices.Equal(report.Reasons, want) || report.Ready {
		t.Errorf("the reasons are %q, not %q", report.Reasons, want)
	}
}
