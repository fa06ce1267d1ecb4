package proxy

import (
	"testing"
	"time"
)

func TestAverage(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	type call struct{ after, took time.Duration }
	for _, tt := range []struct {
		name        string
		calls       []call
		after, want time.Duration
	}{
		{"nothing", nil, 0, 0},
		{"one call", []call{{0, 8 * ms}}, 0, 8 * ms},
		{"a slow one after it", []call{{0, 8 * ms}, {0, 200 * ms}}, 0, 104 * ms},
		{"a quick one after it", []call{{0, 8 * ms}, {0, 0}}, 0, 7 * ms},
		{"one after a long time", []call{{0, 200 * ms}, {time.Hour, 8 * ms}}, 0, 8 * ms},
		{"none for a while", []call{{0, 200 * ms}}, fade, 200 * ms * 1000 / 2718},
		{"none for long", []call{{0, 200 * ms}}, time.Hour, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var a average
			now := time.Now()
			for _, c := range tt.calls {
				now = now.Add(c.after)
				a.add(c.took, now)
			}
			if got := a.lately(now.Add(tt.after)); (got - tt.want).Abs() > ms/10 {
				t.Errorf("lately = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestBetter compares two nodes by how long calls took there, and how many each
// has in hand.
func TestBetter(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	type side struct {
		took time.Duration
		load int64
	}
	for _, tt := range []struct {
		name   string
		first  side
		second side
		want   string
	}{
		{"alike", side{ms, 0}, side{ms, 0}, "first"},
		{"more in hand", side{ms, 3}, side{ms, 2}, "second"},
		{"a little slower", side{6 * ms, 0}, side{ms, 1}, "first"},
		{"slow methods that differ", side{200 * ms, 0}, side{120 * ms, 1}, "first"},
		{"slow", side{200 * ms, 0}, side{ms, 3}, "second"},
		{"slow, and the other is full", side{200 * ms, 0}, side{ms, slowWeight}, "first"},
		{"slow, and the other not known", side{200 * ms, 0}, side{0, 3}, "second"},
		{"the other is slow", side{ms, 3}, side{200 * ms, 0}, "first"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			nodes := map[string]*node{"first": {}, "second": {}}
			for name, s := range map[string]side{"first": tt.first, "second": tt.second} {
				nodes[name].answered("Echo.Call", s.took, now)
				nodes[name].load.Store(s.load)
			}
			if better(nodes["first"], nodes["second"], "Echo.Call", now) != nodes[tt.want] {
				t.Errorf("the %s is not the better one", tt.want)
			}
		})
	}
}
