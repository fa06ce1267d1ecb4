package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/micro/platform/internal/porttest"
	"github.com/micro/platform/tests/platform"
	"github.com/micro/platform/tests/platform/platformtest"
)

// rules are a file of Prometheus' rules, as far as it is read and written here.
type rules struct {
	Groups []ruleGroup `yaml:"groups"`
}

type ruleGroup struct {
	Name  string `yaml:"name"`
	Rules []rule `yaml:"rules"`
}

type rule struct {
	Alert  string `yaml:"alert,omitempty"`
	Record string `yaml:"record,omitempty"`
	Expr   string `yaml:"expr"`
}

// TestOperatorsFiles shows that Prometheus takes the files in deploy/, that the
// alerts are told when they should be, and that every number which alerts and
// dashboards ask for is one that the platform has.
func TestOperatorsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../deploy/prometheus")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "certs"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.pem", "prometheus.pem", "prometheus.key"} { // promtool wants them to be there
		if err := os.WriteFile(filepath.Join(dir, "certs", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	guide, err := os.ReadFile("../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]string{} // query -> where it is
	for _, g := range readRules(t, filepath.Join(dir, "alerts.yml")).Groups {
		for _, r := range g.Rules {
			asked[r.Expr] = "alert " + r.Alert
			if row := regexp.MustCompile(`(?m)^\|.*\b` + r.Alert + `\b.*\| \S.*\|$`); !row.Match(guide) {
				t.Errorf("deploy/README.md does not say what to do about %s", r.Alert)
			}
		}
	}
	dashboards := rules{Groups: []ruleGroup{{Name: "dashboards"}}}
	for query, where := range dashboardQueries(t) {
		asked[query] = where
		dashboards.Groups[0].Rules = append(dashboards.Groups[0].Rules, rule{Record: "query:" + strconv.Itoa(len(asked)), Expr: query})
	}
	b, err := yaml.Marshal(dashboards)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dashboards.yml"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"check", "config", "swarm.yml"}, {"check", "rules", "dashboards.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.CommandContext(t.Context(), "promtool", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	there := measured(t)
	metric := regexp.MustCompile(`\b(micro|go|process)_[a-z0-9_]+`)
	for query, where := range asked {
		for _, name := range metric.FindAllString(query, -1) {
			if !there[name] {
				t.Errorf("%s asks for %s, which no process has", where, name)
			}
		}
	}
}

// TestUnits shows that systemd takes the units in deploy/.
func TestUnits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	units, err := filepath.Glob("../deploy/systemd/*")
	if err != nil || len(units) == 0 {
		t.Fatal("no units: ", err)
	}
	args := []string{"verify"}
	for _, unit := range units {
		b, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.Replace(filepath.Base(unit), "@", "@auth", 1) // an instance of a template
		args = append(args, filepath.Join(dir, name))
		// The program is not installed here.
		if err := os.WriteFile(args[len(args)-1], bytes.ReplaceAll(b, []byte("/usr/local/bin/micro "), []byte(micro+" ")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func readRules(t *testing.T, file string) (r rules) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// dashboardQueries answers the queries of all dashboards, with their variables
// filled in, and where they are.
func dashboardQueries(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../deploy/grafana/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no dashboards: ", err)
	}
	filled := strings.NewReplacer("$__rate_interval", "5m", "$component", ".*")
	all := map[string]string{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(b, &board); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, p := range board.Panels {
			for _, q := range p.Targets {
				all[filled.Replace(q.Expr)] = filepath.Base(file) + ", panel " + p.Title
			}
		}
	}
	return all
}

// measured answers the names of all numbers that the processes of a platform
// have, whose components are apart.
func measured(t *testing.T) map[string]bool {
	t.Helper()
	var at []string
	p := platformtest.Start(t, platform.Config{Micro: micro, Apart: true, TLS: true,
		Prepare: func(cmd *exec.Cmd) {
			port, err := porttest.Reserve()
			if err != nil {
				t.Fatal(err)
			}
			at = append(at, "127.0.0.1:"+strconv.Itoa(port))
			cmd.Env = append(slices.Clip(cmd.Env), "MICRO_OPS_ADDRESS="+at[len(at)-1])
		}})
	person(t, p, "ada") // through both edges
	names := map[string]bool{}
	for _, address := range at {
		maps.Copy(names, metricsOf(t.Context(), t, address))
	}
	return names
}

// metricsOf answers the names of a process's metrics.
func metricsOf(ctx context.Context, t *testing.T, address string) map[string]bool {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	text, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if name := line[:strings.IndexAny(line, "{ ")]; !strings.HasPrefix(line, "#") {
			names[name] = true
		}
	}
	return names
}
