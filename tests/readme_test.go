package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/micro/platform/tests/platform"
)

// shell finds the blocks of commands in a Markdown file.
var shell = regexp.MustCompile("(?s)```sh\n(.*?)```")

// TestREADME runs every command of the README, in its order: those of make must
// be targets, which CI and the demo run, and the others work as they stand, but
// for the addresses of this test's server.
func TestREADME(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	git, err := platform.StartGit(filepath.Join(t.TempDir(), "git"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(git.Close)
	p := start(t, false, "MICRO_BUILDER_GIT_HOSTS="+git.Address)
	reader, err := p.Person(t.Context(), "reader")
	if err != nil {
		t.Fatal(err)
	}
	run := 0
	for _, block := range shell.FindAllStringSubmatch(string(readme), -1) {
		for line := range strings.Lines(block[1]) {
			line, _, _ = strings.Cut(line, "  #")
			line = strings.TrimSpace(line)
			switch target, isMake := strings.CutPrefix(line, "make "); {
			case line == "" || strings.HasPrefix(line, "export PATH="):
			case isMake:
				if !strings.Contains(string(makefile), "\n"+strings.Fields(target)[0]+":") {
					t.Errorf("%s: the Makefile has no such target", line)
				}
			case line == "micro signup":
				if out, err := reader.Signup(t.Context(), "correct horse battery staple", "reader-space"); err != nil {
					t.Fatalf("micro signup: %v: %s", err, out)
				}
			default:
				run++
				expect(t, reader, "", readmeLine(t, p, git, reader, line))
			}
		}
	}
	if run < 10 {
		t.Errorf("%d commands were found in the README", run)
	}
}

// readmeLine is a line of the README as it runs here.
func readmeLine(t *testing.T, p *platform.Platform, git *platform.GitServer, reader *platform.Person, line string) string {
	t.Helper()
	switch {
	case line == "micro env set local":
		return "micro env set platform" // this test's server is not on the usual port
	case strings.HasPrefix(line, "micro gen client "):
		return line + " --api http://" + p.API
	case strings.HasPrefix(line, "micro run github.com/"):
		url, err := git.Push(t.Context(), filepath.Join(reader.Home, "helloworld"), "services", "helloworld")
		if err != nil {
			t.Fatal(err)
		}
		return "micro run --force " + url + "/helloworld@main"
	case strings.HasPrefix(line, "micro logs -f "):
		return "micro logs " + strings.TrimPrefix(line, "micro logs -f ") // it would follow for ever
	}
	return strings.ReplaceAll(line, "127.0.0.1:8080", p.API)
}
