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
	began := time.Now()
	if err := do(t.Context()); err != nil {
		t.Error(err)
	}
	until(t.Context(), time.Now().Add(after))
	return traffic, began
}

// judge notes what became of the calls, and of the writes among them.
func judge(t *testing.T, experiment string, b *Balancer, x *Tenant, traffic *Traffic, began time.Time, window time.Duration) {
	t.Helper()
	t.Logf("%s:\n%s", experiment, traffic)
	calls, failures := traffic.Calls(), traffic.Failures(time.Time{})
	if early := len(failures) - len(traffic.Failures(began)); early > 0 {
		t.Errorf("%s: %d calls failed before anything happened", experiment, early)
	}
	ok := report.Least(experiment, "calls", calls, 1)
	if window == 0 {
		ok = report.Most(experiment, "failed calls", len(failures), 0) && ok
	} else {
		report.Info(experiment, "failed calls", len(failures))
		ok = report.Within(experiment, "clients' error window", traffic.Window(began), window) && ok
	}
	var lost []string
	err := poll(t.Context(), settled, func() (err error) { lost, err = x.lost(t.Context(), b.Next()); return err })
	if err != nil {
		t.Fatal(err)
	}
	ok = report.Most(experiment, "acknowledged writes lost", len(lost), 0) && ok
	if !ok {
		t.Errorf("%s does not hold", experiment)
	}
}
