package platformtest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// clockAhead is the variable of a process with a clock of its own that says how far
// that is ahead.
const clockAhead = "CLOCK_AHEAD"

// Clock builds the program under test with a standard library whose wall clock is
// ahead by what the environment of the process says, and answers its path. The
// monotonic clock is left alone, as it is by who sets a host's clock. All of the
// standard library is compiled for it: that takes minutes the first time.
func Clock(t testing.TB) (micro string) {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	const reads = "\tsec, nsec, mono := runtimeNow()\n"
	if n := strings.Count(string(text), reads); n != 1 {
		t.Fatalf("the clock is read in %d places of %s: the standard library has changed", n, original)
	}
	changed := strings.Replace(string(text), reads, reads+"\tsec += ahead\n", 1)
	changed = strings.Replace(changed, "import (\n", "import (\n\t\"syscall\"\n", 1) + `
var ahead = func() int64 {
	text, _ := syscall.Getenv("` + clockAhead + `")
	d, _ := ParseDuration(text)
	return int64(d / Second)
}()
`
	dir := t.TempDir()
	replacement, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{original: replacement}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{replacement: []byte(changed), overlay: list} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	micro = filepath.Join(dir, "micro")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", micro, "github.com/micro/platform/cmd/micro")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build micro with a clock of its own: %v: %s", err, out)
	}
	return micro
}

// SetClock has a process, of what Clock has built, start with a clock that is ahead
// by whole seconds.
func SetClock(cmd *exec.Cmd, micro, ahead string) {
	cmd.Path = micro
	cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], clockAhead+"="+ahead)
}
