package telemetry

import (
	"context"
	"testing"
)

// TestDiskAgain shows that a component may name its disk as often as it asks for
// it.
func TestDiskAgain(t *testing.T) {
	t.Parallel()
	m := NewMetrics(NewHealth())
	for range 2 {
		m.Disk("scheduler", "state", func(context.Context) (string, error) { return t.TempDir(), nil })
	}
}
