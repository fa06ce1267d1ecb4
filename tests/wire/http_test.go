package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/micro/platform/internal/programtest"
	"github.com/micro/platform/tests/platform"
)

// TestHTTP deploys a service and calls it over HTTP: with the requests that
// scripts and Micro's web page send, and with the npm packages that people have.
func TestHTTP(t *testing.T) {
	t.Parallel()
	p := start(t)
	x := person(t, p, "http")
	for _, line := range [][]string{{"new", "helloworld"}, {"run", "./helloworld"}} {
		if out, err := x.Micro(t.Context(), "", line...); err != nil {
			t.Fatalf("micro %v: %v: %s", line, err, out)
		}
	}
	api := &api{p: p, namespace: x.Name + "-space"}
	api.login(t, x.Email)
	t.Run("requests", func(t *testing.T) { requests(t, api) })
	t.Run("document", func(t *testing.T) { isOpenAPI(t, api) })
	out, err := x.Micro(t.Context(), "", "auth", "token", "create", "website", "--grant", "helloworld:*:write", "--expires", "1h")
	if api.token = apiToken.FindString(out); err != nil || api.token == "" {
		t.Fatalf("micro auth token create: %v: %s", err, out)
	}
	t.Run("npm packages", func(t *testing.T) { npmClients(t, api) })
}

// apiToken is what the secret of an API token looks like.
var apiToken = regexp.MustCompile(`mtk_\S+`)

// api is the HTTP API as one person calls it.
type api struct {
	p                *platform.Platform
	namespace, token string
}

// login is what Micro's web page does.
func (a *api) login(t *testing.T, email string) {
	t.Helper()
	_, body := a.do(t, "POST", "/auth/Auth/Token", fmt.Sprintf(`{"id":%q,"secret":%q,"token_expiry":3600}`, email, password), "Micro-Namespace", a.namespace)
	var rsp struct {
		Token struct {
			AccessToken string `json:"access_token"`
			Expiry      string
		}
	}
	if err := json.Unmarshal([]byte(body), &rsp); err != nil || rsp.Token.AccessToken == "" || rsp.Token.Expiry == "" {
		t.Fatalf("no token: %v: %s", err, body)
	}
	a.token = rsp.Token.AccessToken
}

func (a *api) do(t *testing.T, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.p.API+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	for i := 0; i < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	rsp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.StatusCode, string(b)
}

func requests(t *testing.T, a *api) {
	form, web := "application/x-www-form-urlencoded", []string{"Content-Type", "application/json", "Micro-Namespace", a.namespace, "Origin", "http://localhost:8082"}
	for _, tt := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		want                     string
	}{
		{"service", "POST", "/helloworld", `{"name":"Jane"}`, nil, 200, `{"msg":"Hello Jane"}`},
		{"service and method", "POST", "/helloworld/call", `{"name":"Jane"}`, nil, 200, `{"msg":"Hello Jane"}`},
		{"all three", "POST", "/helloworld/Helloworld/Call", `{"name":"Jane"}`, nil, 200, `{"msg":"Hello Jane"}`},
		{"in lower case", "POST", "/helloworld/helloworld/call", `{"name":"Jane"}`, nil, 200, `{"msg":"Hello Jane"}`},
		{"version", "POST", "/v1/helloworld/call", `{"name":"Jane"}`, nil, 200, `{"msg":"Hello Jane"}`},
		{"version and all three", "POST", "/v1/helloworld/Helloworld/Call", `{"name":"Jane"}`, nil, 200, `{"msg":"Hello Jane"}`},
		{"query", "GET", "/helloworld/call?name=123", "", nil, 200, `{"msg":"Hello 123"}`},
		{"form", "POST", "/helloworld/call", "name=Jane+Doe", []string{"Content-Type", form}, 200, `{"msg":"Hello Jane Doe"}`},
		{"web page", "POST", "/helloworld/Helloworld/Call", `{"name":"Jane"}`, web, 200, `{"msg":"Hello Jane"}`},
		{"stream", "POST", "/helloworld/stream", `{"count":3}`, nil, 200, `{"count":"0"}{"count":"1"}{"count":"2"}`},
		{"stream of events", "GET", "/helloworld/stream?count=2", "", []string{"Accept", "text/event-stream"}, 200, "data: {\"count\":\"0\"}\n\ndata: {\"count\":\"1\"}\n\nevent: end\ndata: {}\n\n"},
		{"registry", "POST", "/registry/Registry/ListServices", `{}`, web, 200, `"name":"helloworld"`},
		{"runtime", "POST", "/runtime/Runtime/Read", `{}`, web, 200, `"name":"helloworld"`},
		{"unknown service", "POST", "/nothere/call", `{}`, nil, 404, `{"id":"go.micro.api","code":404,"detail":"service not found","status":"Not Found"}`},
		{"unknown method", "POST", "/helloworld/nothing", `{}`, nil, 404, `"code":404`},
		{"no token", "POST", "/helloworld/call", `{}`, []string{"Authorization", "", "Micro-Namespace", a.namespace}, 401, `"status":"Unauthorized"}`},
		{"wrong type", "POST", "/helloworld/stream", `{"count":"many"}`, nil, 400, `field \"count\": want a number`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := a.do(t, tt.method, tt.path, tt.body, tt.headers...)
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%d %s, want %d %s", status, body, tt.status, tt.want)
			}
		})
	}
}

// isOpenAPI shows that documents are what they say they are, and that answers
// fit them.
func isOpenAPI(t *testing.T, a *api) {
	validate := build(t, "validate", "validate")
	_, answer := a.do(t, "POST", "/helloworld/call", `{"name":"Jane"}`)
	_, services := a.do(t, "POST", "/registry/Registry/GetService", `{"service":"helloworld"}`)
	for _, tt := range []struct{ service, operation, answer string }{
		{"helloworld", "Helloworld_Call", answer},
		{"registry", "Registry_GetService", services},
		{"auth", "", ""}, {"runtime", "", ""},
	} {
		status, document := a.do(t, "GET", "/"+tt.service+"/openapi.json", "")
		if status != http.StatusOK {
			t.Errorf("%s: %d %s", tt.service, status, document)
			continue
		}
		cmd := exec.CommandContext(t.Context(), validate)
		if tt.operation != "" {
			cmd.Args = append(cmd.Args, tt.operation+"="+tt.answer)
		}
		cmd.Stdin = strings.NewReader(document)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s in %s", tt.service, err, out, document)
		}
	}
}

// npmClients installs the packages and runs testdata/clients.js, with an API
// token, which is what people have in their scripts.
func npmClients(t *testing.T, a *api) {
	programtest.Path(t, "npm")
	dir := t.TempDir()
	script, err := os.ReadFile(filepath.Join("testdata", "clients.js"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"clients.js": string(script), "package.json": `{"private":true}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.CommandContext(t.Context(), "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "micro-js-client@0.0.3", "m3o@1.0.1783")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm cannot install the packages: %v: %s", err, out)
	}
	run := exec.CommandContext(t.Context(), "node", "clients.js", "http://"+a.p.API+"/", a.token)
	run.Dir = dir
	var problems bytes.Buffer
	run.Stderr = &problems
	out, err := run.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, problems.String())
	}
	got := map[string]string{}
	for line := range strings.Lines(string(out)) {
		var did struct {
			Name   string
			Answer json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &did); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		got[did.Name] = string(did.Answer)
	}
	for name, want := range map[string]string{
		"micro-js-client call":            `{"msg":"Hello John"}`,
		"micro-js-client stream":          `{"messages":[{"count":"0"},{"count":"1"}],"code":1000}`,
		"micro-js-client prefix":          `{"msg":"Hello "}`,
		"micro-js-client error":           `"code":403`,
		"micro-js-client without a token": `"code":404`,
		"m3o call":                        `{"msg":"Hello Jane"}`,
		"m3o stream":                      `{"messages":[{"count":"0"},{"count":"1"},{"count":"2"}],"code":1000}`,
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
}
