package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/micro/platform/"

// TestImports keeps the parts apart: who may import whom.
func TestImports(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, i := range p.Imports {
			if why := forbidden(from, i); why != "" {
				t.Errorf("%s imports %s: %s", from, strings.TrimPrefix(i, module), why)
			}
		}
	}
}

// forbidden says why a package must not import another, or "".
func forbidden(from, path string) string {
	to, ours := strings.CutPrefix(path, module)
	standard := !strings.Contains(strings.SplitN(path, "/", 2)[0], ".")
	switch {
	case under(from, "services") && ours && under(to, "services") && top2(from) != top2(to):
		return "services take a generated client, and the host connects it"
	case (under(from, "billing") || under(from, "scheduler/plan")) && !standard && to != "framework/errors" && to != "internal/quota" && !(under(from, "billing") && under(to, "billing")) &&
		!(from == "billing/plans" && path == "go.yaml.in/yaml/v3"):
		return "it is pure: the standard library and framework/errors and internal/quota only; the catalogue of plans is YAML"
	case under(from, "framework") && ours && !under(to, "framework") && !under(to, "proto"):
		return "users compile the framework"
	case under(from, "framework") && !ours && !standard && !light(path):
		return "the framework depends on grpc, protobuf, OpenTelemetry's API and little else"
	case (under(from, "gateway") || under(from, "proxy/edge")) && (to == "proxy" || under(to, "proxy/egress") || under(from, "proxy/edge") && under(to, "gateway")):
		return "both edges are on proxy/edge, neither on the other"
	case !under(from, "cmd") && !under(from, "tests") && ours && under(to, "cmd"):
		return "only cmd and tests import everything"
	}
	return ""
}

func light(path string) bool {
	for _, p := range []string{"google.golang.org/grpc", "google.golang.org/protobuf", "go.opentelemetry.io/otel", "github.com/google/uuid"} {
		if under(path, p) {
			return true
		}
	}
	return false
}

func under(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}

func top2(path string) string {
	parts := strings.SplitN(path, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}
