// Package programtest finds the programs that tests run.
package programtest

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// without is the environment variable that names programs to do without, with
// commas between them: tests that need them are skipped.
const without = "MICRO_TEST_WITHOUT"

// Path answers where a program is that make prepare installs. A test fails
// where it is missing, so that nothing goes untested without a word.
func Path(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if slices.Contains(strings.Split(os.Getenv(without), ","), name) {
		t.Skipf("%s does without %s", without, name)
	}
	t.Fatalf("%s is not installed: make prepare installs it, %s=%s does without", name, without, name)
	return ""
}
