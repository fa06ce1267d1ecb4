package faults

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/internal/porttest"
	"github.com/micro/platform/internal/telemetry"
	"github.com/micro/platform/tests/platform"
	"github.com/micro/platform/tests/platform/platformtest"
)

// wrongFor is how long the load goes on beside an instance whose clock is wrong.
const wrongFor = 3 * time.Second

// TestClocks starts one instance of a component after the other with a clock of its
// own, beside one that is right. Up to the leeway of tokens it is ready; beyond,
// it says that its clock is off, and no call fails since others leave it out.
// `make faults` has it: the program is built with a standard library of its own.
func TestClocks(t *testing.T) {
	inFull(t)
	wrong := platformtest.Clock(t)
	port, err := porttest.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	at, ahead := fmt.Sprintf("127.0.0.1:%d", port), time.Duration(0)
	names := []string{"auth", "audit", "registry", "namespaces", "config", "store", "events", "usage", "proxy", "gateway"}
	s, _ := site(t, platform.Config{Components: names, Twice: names, Prepare: func(cmd *exec.Cmd) {
		if ahead != 0 {
			cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], "MICRO_OPS_ADDRESS="+at)
			platformtest.SetClock(cmd, wrong, ahead.String())
		}
	}})
	again := func(instance string) {
		t.Helper()
		s.Platform.Leave(instance)
		if err := s.Platform.Again(t.Context(), instance); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"auth", "gateway", "proxy", "store", "config", "events", "namespaces", "usage"} {
		for _, ahead = range []time.Duration{time.Second, -time.Second, 5 * time.Minute, -5 * time.Minute, 24 * time.Hour, -24 * time.Hour} {
			again(name + "/2")
			off := ahead.Abs() > time.Minute
			awaitReport(t, at, func(r telemetry.Report) bool {
				return r.Ready != off && strings.Contains(strings.Join(r.Reasons, " "), "the clock of this host is") == off
			}, "%s, %v ahead", name, ahead)
			if name != "proxy" && name != "gateway" { // it is their clients that leave these out
				if all, failed := s.load(t, wrongFor); failed > 0 {
					t.Errorf("%s, %v ahead: %d of %d calls failed", name, ahead, failed, all)
				} else {
					t.Logf("%s, %v ahead, ready %t: 0 of %d calls failed", name, ahead, !off, all)
				}
			}
		}
		ahead = 0
		again(name + "/2")
	}
}

// load calls for some time, and answers how many calls there were and how many
// failed.
func (s *Site) load(t *testing.T, lasts time.Duration) (all, failed int) {
	t.Helper()
	ctx, end := context.WithTimeout(t.Context(), lasts)
	defer end()
	x := newTraffic(s)
	x.run(ctx)
	if x.failed() > 0 {
		t.Log(x)
	}
	return x.all(), x.failed()
}
