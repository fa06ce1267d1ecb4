package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
)

// TestTogether kills the server, its databases, or all of them.
func TestTogether(t *testing.T) {
	t.Parallel()
	s, err := together(t.Context(), platform.Config{Micro: micro, Dir: shared(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); s.Platform.Stop() })
	trials(t, s)
}

// TestApart kills single components, and databases under running components.
func TestApart(t *testing.T) {
	t.Parallel()
	s, _ := site(t, platform.Config{})
	trials(t, s)
}

// trials shows what a site does with numbered messages: without faults, when
// nothing may even be doubled, and with them.
func trials(t *testing.T, s *Site) {
	t.Helper()
	n, random := seed(t)
	judge(t, trial(t, s, Report{Title: t.Name() + " without faults", Seed: n, For: calm}, random, nil))
	judge(t, trial(t, s, Report{Title: t.Name(), Seed: n, For: trialTime(t)}, random, s.Victims))
}

// trial sends messages while it kills victims, and then looks for the messages.
func trial(t *testing.T, s *Site, r Report, random *rand.Rand, victims []Victim) Report {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	name := "quiet"
	if victims != nil {
		name = "faults"
	}
	loads, err := s.Loads(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	for _, l := range loads {
		all.Go(func() { l.Run(sending) })
	}
	if victims == nil {
		platform.Until(ctx, time.Now().Add(r.For))
	} else if r.Kills, err = Torment(ctx, random, r.For, victims); err != nil {
		t.Error(err)
	}
	stop()
	all.Wait()
	if r.Rows, err = settle(ctx, loads, settleTime); err != nil {
		t.Error(err)
	}
	return r
}

// settle gives what was sent some time to arrive.
func settle(ctx context.Context, loads []*Load, patience time.Duration) (rows []Row, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	errs := make([]error, len(loads))
	var all sync.WaitGroup
	for i, l := range loads {
		all.Go(func() { errs[i] = l.Settle(ctx) })
	}
	all.Wait()
	for _, l := range loads {
		for _, ledger := range l.Ledgers {
			rows = append(rows, ledger.Row())
		}
	}
	return rows, errors.Join(errs...)
}

func judge(t *testing.T, r Report) {
	t.Helper()
	t.Log(r)
	for _, wrong := range r.Wrong() {
		t.Errorf("%s: %s", r.Title, wrong)
	}
}
