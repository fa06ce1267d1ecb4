package tests

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestOperatorsSettings shows that every setting which the files in deploy/ name
// is one that the platform has: with another nothing of it starts.
func TestOperatorsSettings(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), micro, "server", "--print-config", "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var known []struct{ Name string }
	if err := json.Unmarshal(out, &known); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, k := range known {
		names[k.Name], names[k.Name+"_FILE"] = true, true
	}
	setting := regexp.MustCompile(`MICRO_[A-Z0-9_]+\b`)
	err = filepath.WalkDir("../deploy", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, name := range setting.FindAllString(string(b), -1) {
			if !names[name] && !strings.HasSuffix(name, "_") { // MICRO_BUILDER_* are several
				t.Errorf("%s has %s, which is no setting", path, name)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestStackIsWhole shows that every component of the stack and its edges has a
// certificate by the guide, a check that shows it, and is scraped.
func TestStackIsWhole(t *testing.T) {
	t.Parallel()
	read := func(file string) []byte {
		b, err := os.ReadFile(filepath.Join("../deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	guide, scraped := string(read("README.md")), string(read("prometheus/swarm.yml"))
	issue := regexp.MustCompile(`(?m)^micro certs issue --dir certs audit.*$`).FindString(guide)
	for _, file := range []string{"swarm/stack.yaml", "swarm/edges.yaml"} {
		var stack struct {
			Services map[string]struct {
				Command     []string
				Healthcheck struct{ Test []string }
			}
		}
		if err := yaml.Unmarshal(read(file), &stack); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for name, s := range stack.Services {
			if len(s.Command) == 0 || s.Command[0] != "service" || name == "console" { // the console shows no certificate
				continue
			}
			if want := []string{"service", name}; !slices.Equal(s.Command, want) {
				t.Errorf("%s: %s runs %v", file, name, s.Command)
			}
			if check := s.Healthcheck.Test; len(check) != 4 || !slices.Equal(check[2:], []string{"ready", name}) {
				t.Errorf("%s: %s is healthy by %v", file, name, check)
			}
			if !slices.Contains(strings.Fields(issue), name) {
				t.Errorf("%s: the guide issues no certificate to %s", file, name)
			}
			if !strings.Contains(scraped, "server_name: "+name+".micro.internal") {
				t.Errorf("%s: swarm.yml does not scrape %s", file, name)
			}
		}
	}
}
