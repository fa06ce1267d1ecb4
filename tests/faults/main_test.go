package faults

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
	"github.com/micro/platform/tests/platform/platformtest"
)

// micro is the program under test, built once.
var micro string

func TestMain(m *testing.M) { platformtest.Main(m, &micro) }

// Without MICRO_TEST_FAULTS a trial is short.
const (
	shortTrial = 5 * time.Second
	calm       = 2 * time.Second // of the trial without faults
	settleTime = time.Minute
)

// trialTime is how long the faults last.
func trialTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("MICRO_TEST_FAULTS")
	if text == "" {
		return shortTrial
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("MICRO_TEST_FAULTS: %v", err)
	}
	return d
}

// inFull skips an experiment that has no short form.
func inFull(t *testing.T) {
	t.Helper()
	if os.Getenv("MICRO_TEST_FAULTS") == "" {
		t.Skip("MICRO_TEST_FAULTS is not set: make faults")
	}
}

// asRoot skips what only root may do.
func asRoot(t *testing.T, what string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may " + what)
	}
}

// seed is what all choices of a test follow from.
func seed(t *testing.T) (uint64, *rand.Rand) {
	t.Helper()
	n := uint64(rand.Uint32())
	if text := os.Getenv("MICRO_TEST_FAULTS_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("MICRO_TEST_FAULTS_SEED: %v", err)
		}
	}
	return n, rand.New(rand.NewPCG(n, 0))
}

// shared is a directory that other users can reach, unlike t.TempDir: Postgres
// does not run as root.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "micro-faults-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// site starts a platform whose components are processes of their own, with
// databases that can be killed. Both end with the test.
func site(t *testing.T, c platform.Config) (*Site, *databases) {
	t.Helper()
	c.Dir = shared(t)
	d, err := newDatabases(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return siteOn(t, c, d), d
}

// siteOn is a site on databases that are not started yet.
func siteOn(t *testing.T, c platform.Config, d *databases) *Site {
	t.Helper()
	c.Micro = micro
	t.Cleanup(d.stop)
	if err := d.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := apart(t.Context(), c, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); s.Platform.Stop() })
	return s
}

// lookPath fails a test that lacks a program.
func lookPath(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
