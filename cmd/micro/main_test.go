package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"micro": main})
}

// TestScripts runs the command line as a person would, where no server is
// needed.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir+"/home")
			return os.Mkdir(e.WorkDir+"/home", 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// TestScriptsWithServer runs the command line against a platform that is made
// up: what is shown and kept, not what is done. tests/ has the real one.
func TestScriptsWithServer(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/server",
		Setup: func(e *testscript.Env) error {
			address, stop, err := startFake()
			if err != nil {
				return err
			}
			e.Defer(stop)
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("MICRO_PROXY", address)
			api := httptest.NewServer(http.HandlerFunc(fakeAPI))
			e.Defer(api.Close)
			e.Setenv("API", api.URL)
			return os.Mkdir(e.WorkDir+"/home", 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits CODE COMMAND... runs a command that has to end with that exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	// The shell compares: testscript itself tells success from failure only.
	err := ts.Exec("sh", append([]string{"-c", `want=$1; shift; "$@"; got=$?; test $got -eq $want || { echo "exit code $got" >&2; false; }`, "sh"}, args...)...)
	ts.Check(err)
}
