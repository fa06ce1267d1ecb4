package faults

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// micro is the program under test, built once.
var micro string

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "micro-bin-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	micro = filepath.Join(dir, "micro")
	if err := command(context.Background(), "go", "build", "-o", micro, "../../cmd/micro"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

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

// lookPath fails a test that lacks a program.
func lookPath(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
