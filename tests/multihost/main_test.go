package multihost

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/platform/internal/dockertest"
	"github.com/micro/platform/tests/platform"
)

// report is of all tests; it is printed at the end.
var report Report

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if len(report.rows) > 0 && testing.Verbose() {
		fmt.Print("\n", &report)
	}
	os.RemoveAll(filepath.Dir(built.micro))
	os.Exit(code)
}

// built is the program under test. It is static: the edges' image has nothing
// but it.
var built struct {
	once  sync.Once
	micro string
	err   error
}

func micro(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		dir, err := os.MkdirTemp("", "micro-bin-")
		if err != nil {
			built.err = err
			return
		}
		built.micro = filepath.Join(dir, "micro")
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", built.micro, "../../cmd/micro")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build micro: %w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.micro
}

// full is what asks for all experiments. They take half an hour.
const full = "MICRO_TEST_MULTIHOST"

// skipWithout skips where there cannot be a rig, unless all was asked for.
func skipWithout(t *testing.T) {
	t.Helper()
	switch why := missing(); {
	case why == "":
	case os.Getenv(full) != "":
		t.Fatal(why)
	default:
		t.Skip(why)
	}
}

// newRig leaves nothing behind. The last of its hosts have gVisor, as many as that.
func newRig(t *testing.T, contained int) *Rig {
	t.Helper()
	runsc := ""
	if contained > 0 {
		runsc = dockertest.Runsc(t)
	}
	r, err := NewRig(t.Context(), contained, runsc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(r.Dir); err == nil {
			t.Errorf("%s is still there", r.Dir)
		}
	})
	return r
}

// newSite is a platform on a rig, with edges on every host.
func newSite(t *testing.T, r *Rig, controllers int) *Site {
	t.Helper()
	s, err := NewSite(t.Context(), r, micro(t), controllers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(t) })
	return s
}

// end closes the site, and keeps its logs if they may be wanted.
func (s *Site) end(t *testing.T) {
	t.Helper()
	if t.Failed() {
		s.keepLogs(t)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// keepLogs copies what components and containers said to where it outlives the
// rig.
func (s *Site) keepLogs(t *testing.T) {
	t.Helper()
	to, err := os.MkdirTemp("", "micro-multihost-logs-")
	if err != nil {
		t.Error(err)
		return
	}
	for _, n := range s.Rig.Nodes {
		files, _ := filepath.Glob(filepath.Join(n.Dir, "*.log"))
		names, _ := n.Docker(context.Background(), "ps", "--all", "--format", "{{.Names}}")
		for _, name := range strings.Fields(names) {
			file := filepath.Join(n.Dir, name+".log")
			out, _ := n.Command(context.Background(), "sh", "-c", `docker inspect --format "{{json .State}}" "$1"; docker logs "$1"`, "sh", name).CombinedOutput()
			if os.WriteFile(file, out, 0o644) == nil {
				files = append(files, file)
			}
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(filepath.Join(to, n.Name+"-"+filepath.Base(file)), b, 0o644)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("what components and containers said is in %s", to)
}

// signupTimeout is for a platform that has just been started.
const signupTimeout = 2 * time.Minute

// signup makes a person with a namespace, who works through the edge of a host
// that stays.
func signup(t *testing.T, s *Site, name string) (*platform.Person, *Tenant) {
	t.Helper()
	x, err := s.Platform.Person(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	// Components that have just started may not have found each other yet.
	err = poll(t.Context(), signupTimeout, func() error {
		out, err := x.Signup(t.Context(), "correct horse battery staple", name+"-space")
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
	if err != nil {
		t.Fatalf("sign up %s: %v", name, err)
	}
	// A session's token is over before all experiments are.
	created := command(t, x, "auth", "token", "create", "calls", "--grant", "*:*:write", "--expires", "1d")
	token := apiToken.FindString(created)
	if token == "" {
		t.Fatalf("micro auth token create: %s", created)
	}
	return x, &Tenant{Token: token, run: name}
}

// apiToken is what the secret of an API token looks like.
var apiToken = regexp.MustCompile(`mtk_\S+`)

// command is a command of somebody's that must succeed.
func command(t *testing.T, x *platform.Person, args ...string) string {
	t.Helper()
	out, err := x.Micro(t.Context(), "", args...)
	if err != nil {
		t.Fatalf("micro %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}
