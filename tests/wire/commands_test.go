package wire

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/micro/platform/tests/platform"
)

// apart runs an old command line with a ~/.micro of its own: it takes the home
// directory from the password database, so the directory is put in its place.
const apart = `#!/bin/sh
set -e
if [ "$(id -u)" != 0 ]; then rootless=-r; fi
place=$(getent passwd "$(id -u)" | cut -d: -f6)/.micro
mkdir -p "$place" "$MICRO_HOME"
exec unshare -m $rootless sh -c 'mount --bind "$MICRO_HOME" "$0" && shift && exec "$OLD_MICRO" "$@"' "$place" -- "$@"
`

// TestOldCommandLines builds the command lines that people have, and goes
// through the commands of testdata/ with each of them.
func TestOldCommandLines(t *testing.T) {
	t.Parallel()
	p := start(t)
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"v3", "v5"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			program := build(t, filepath.Join("clients", version), "micro-"+version)
			for _, script := range scripts {
				name := strings.TrimSuffix(filepath.Base(script), ".txt")
				t.Run(name, func(t *testing.T) { runScript(t, p, version, script, program, name+"-"+version) })
			}
		})
	}
}

func runScript(t *testing.T, p *platform.Platform, version, script, program, name string) {
	t.Parallel()
	x := person(t, p, name)
	testscript.Run(t, testscript.Params{
		Files:     []string{script},
		Condition: func(c string) (bool, error) { return c == version, nil },
		Setup: func(e *testscript.Env) error {
			programs := filepath.Join(e.WorkDir, "bin")
			if err := os.MkdirAll(programs, 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(programs, "micro"), []byte(apart), 0o755); err != nil {
				return err
			}
			home := filepath.Join(e.WorkDir, "micro-home")
			for key, value := range map[string]string{
				"OLD_MICRO": program, "MICRO_HOME": home, "MICRO_REPORT_USAGE": "false",
				"PATH":    programs + string(os.PathListSeparator) + os.Getenv("PATH"),
				"ADDRESS": p.Proxy, "EMAIL": x.Email, "PASSWORD": password, "NAMESPACE": name + "-space",
				"NEW_MICRO": p.Micro, "HOME": x.Home,
				"GOMODCACHE": goEnv(t, "GOMODCACHE"), "GOCACHE": goEnv(t, "GOCACHE"), "GOPROXY": goEnv(t, "GOPROXY"),
			} {
				e.Setenv(key, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"micro": old, "exits": exits, "eventually": eventually},
	})
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// old runs the old command line.
func old(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("use exits CODE micro")
	}
	ts.Check(ts.Exec("micro", args...))
}

// exits CODE COMMAND... runs a command that has to end with that exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("sh", append([]string{"-c", `want=$1; shift; "$@"; got=$?; test $got -eq $want || { echo "exit code $got" >&2; false; }`, "sh"}, args...)...))
}

// eventually TEXT COMMAND... runs a command until it prints the text, for at
// most a minute.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("sh", append([]string{"-c", `want=$1; shift
		for i in $(seq 240); do out=$("$@" 2>&1); case "$out" in *"$want"*) exit 0;; esac; sleep 0.25; done
		echo "$out" >&2; false`, "sh"}, args...)...))
}
