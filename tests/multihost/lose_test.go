package multihost

import (
	"context"
	"testing"
	"time"
)

// What must hold when a host is lost, of issue 6 and docs/multihost.md.
const (
	errorWindow = 2 * time.Second
	// settled is how long traffic goes on after a fault before it is judged.
	settled = 15 * time.Second
)

// underTraffic does something in the middle of traffic, and answers the traffic
// and when it was done.
func underTraffic(t *testing.T, b *Balancer, kinds []Kind, after time.Duration, do func(ctx context.Context) error) (*Traffic, time.Time) {
	t.Helper()
	traffic := Start(b, kinds)
	defer traffic.Stop()
	until(t.Context(), time.Now().Add(3*time.Second))
	began := time.Now().Add(-callTime) // what is under way may fail, too
	if err := do(t.Context()); err != nil {
		t.Error(err)
	}
	until(t.Context(), time.Now().Add(after))
	return traffic, began
}

// rule says how many calls may fail, or for how long.
type rule func(experiment string, traffic *Traffic, began time.Time) bool

// none of them may.
func none(experiment string, traffic *Traffic, _ time.Time) bool {
	return report.Most(experiment, "failed calls", len(traffic.Failures(time.Time{})), 0)
}

// perMille is one in a thousand.
func perMille(experiment string, traffic *Traffic, _ time.Time) bool {
	return report.Most(experiment, "failed calls", len(traffic.Failures(time.Time{})), traffic.Calls()/1000)
}

// window is some time from the first that fails.
func window(most time.Duration) rule {
	return func(experiment string, traffic *Traffic, began time.Time) bool {
		report.Info(experiment, "failed calls", len(traffic.Failures(began)))
		return report.Within(experiment, "clients' error window", traffic.Window(began), most)
	}
}

// judge notes what became of the calls, and of the writes among them.
func judge(t *testing.T, experiment string, b *Balancer, x *Tenant, traffic *Traffic, began time.Time, allowed rule) {
	t.Helper()
	t.Logf("%s:\n%s", experiment, traffic)
	if early := len(traffic.Failures(time.Time{})) - len(traffic.Failures(began)); early > 0 {
		t.Errorf("%s: %d calls failed before anything happened", experiment, early)
	}
	report.Info(experiment, "calls", traffic.Calls())
	if !allowed(experiment, traffic, began) {
		t.Errorf("%s: more calls failed than may", experiment)
	}
	var lost []string
	err := poll(t.Context(), settled, func() (err error) { lost, err = x.lost(t.Context(), b.Next(true)); return err })
	if err != nil {
		t.Fatal(err)
	}
	if !report.Most(experiment, "acknowledged writes lost", len(lost), 0) {
		t.Errorf("%s: lost %v", experiment, lost[:min(len(lost), 10)])
	}
}
