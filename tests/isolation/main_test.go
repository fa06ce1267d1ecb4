package isolation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
	"github.com/micro/platform/tests/platform/platformtest"
)

// bench is a platform with two tenants: mallory, whose services hostile and
// peer are the hostile program, and alice, whose service neighbour is it too.
type bench struct {
	*platform.Platform
	cluster string
	mallory *tenant
	alice   *tenant
}

type tenant struct {
	*platform.Person
	api, token string
}

func setup(t *testing.T, env ...string) *bench {
	t.Helper()
	dir := t.TempDir()
	micro := filepath.Join(dir, "bin", "micro")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", micro, "../../cmd/micro").CombinedOutput(); err != nil {
		t.Fatalf("build micro: %v: %s", err, out)
	}
	p := platformtest.Start(t, platform.Config{Micro: micro, Dir: dir, Env: env})
	b := &bench{Platform: p}
	var err error
	if b.cluster, err = p.Cluster(); err != nil {
		t.Fatal(err)
	}
	b.mallory, b.alice = b.tenant(t, "mallory"), b.tenant(t, "alice")
	return b
}

func (b *bench) tenant(t *testing.T, name string) *tenant {
	t.Helper()
	x, err := b.Person(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := x.Signup(t.Context(), "correct horse battery staple", name+"-space"); err != nil {
		t.Fatalf("sign up %s: %v: %s", name, err, out)
	}
	token, err := x.Micro(t.Context(), "", "user", "token")
	if err != nil {
		t.Fatal(err, token)
	}
	return &tenant{x, b.API, strings.TrimSpace(token)}
}

// deploy deploys the hostile program under a name.
func (x *tenant) deploy(t *testing.T, name string) {
	t.Helper()
	if out, err := x.Micro(t.Context(), "", "new", name); err != nil {
		t.Fatal(err, out)
	}
	dir := filepath.Join(x.Home, name)
	for _, part := range []string{"handler", "proto"} {
		if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "main.go")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS("hostile")); err != nil {
		t.Fatal(err)
	}
	if out, err := x.Micro(t.Context(), "", "run", "./"+name); err != nil || !strings.Contains(out, "running") {
		t.Fatalf("micro run ./%s: %v: %s", name, err, out)
	}
}

type request struct {
	Targets []string `json:"targets,omitempty"`
	Count   int64    `json:"count,omitempty"`
}

type response struct {
	Results map[string]string `json:"results"`
	Count   int64             `json:"count"`
}

// callTime is longer than any try takes.
const callTime = 25 * time.Second

// call calls an endpoint of a service of the tenant's.
func (x *tenant) call(ctx context.Context, service, endpoint string, req request) (rsp response, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	body, err := json.Marshal(req)
	if err != nil {
		return rsp, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+x.api+"/"+service+"/Hostile/"+endpoint, bytes.NewReader(body))
	if err != nil {
		return rsp, err
	}
	r.Header.Set("Authorization", "Bearer "+x.token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return rsp, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return rsp, err
	}
	if answer.StatusCode != http.StatusOK {
		return rsp, fmt.Errorf("%s: %s", answer.Status, text)
	}
	return rsp, json.Unmarshal(text, &rsp)
}

// try is call for what must be answered.
func (x *tenant) try(t *testing.T, service, endpoint string, req request) response {
	t.Helper()
	rsp, err := x.call(t.Context(), service, endpoint, req)
	if err != nil {
		t.Fatalf("%s.%s: %v", service, endpoint, err)
	}
	return rsp
}

// inspect answers what Docker says of the running container of a service.
func (b *bench) inspect(t *testing.T, namespace, service, format string) string {
	t.Helper()
	id, err := platform.Docker(t.Context(), "ps", "-q", "--filter", "label=micro.cluster="+b.cluster,
		"--filter", "label=micro.namespace="+namespace, "--filter", "label=micro.service="+service)
	if err != nil || strings.TrimSpace(id) == "" {
		t.Fatalf("the container of %s/%s: %q, %v", namespace, service, id, err)
	}
	out, err := platform.Docker(t.Context(), "inspect", "-f", format, strings.Fields(id)[0])
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}
