package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/framework/auth"
	"github.com/micro/platform/framework/server"
	"github.com/micro/platform/framework/testdata/echo"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/meter"
	authpb "github.com/micro/platform/proto/auth"
	namespacespb "github.com/micro/platform/proto/namespaces"
	registrypb "github.com/micro/platform/proto/registry"
	"github.com/micro/platform/proxy/edge/edgetest"
)

// letters is a service on the framework, which tells what its messages are.
type letters struct{}

func (letters) Say(_ context.Context, req *echo.SayRequest, rsp *echo.SayResponse) error {
	rsp.Text = req.Text
	return nil
}
func (letters) Count(_ context.Context, req *echo.CountRequest, s echo.Echo_CountStream) error {
	return s.Send(&echo.CountResponse{Count: req.To})
}
func (letters) Sum(context.Context, echo.Echo_SumStream) error   { return nil }
func (letters) Chat(context.Context, echo.Echo_ChatStream) error { return nil }

// serveLetters registers letters in acme.
func serveLetters(t *testing.T, e *edge) {
	t.Helper()
	s := server.New("letters", slog.New(slog.DiscardHandler), auth.NewVerifier(nil))
	if err := echo.RegisterEchoHandler(s, letters{}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop(context.Background())
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	e.Register("acme", &registrypb.Service{Name: "letters", Version: "v7", Endpoints: s.Endpoints(),
		Nodes: []*registrypb.Node{{Id: "letters-1", Address: l.Addr().String()}}})
}

// document is what the tests read of a document.
type document struct {
	OpenAPI string
	Info    struct{ Title, Version string }
	Servers []struct{ URL string }
	Paths   map[string]struct {
		Post struct {
			OperationID string `json:"operationId"`
			Service     string `json:"x-micro-service"`
			Endpoint    string `json:"x-micro-endpoint"`
			Stream      string `json:"x-micro-stream"`
			RequestBody body
			Responses   map[string]body
		}
	}
	Components struct {
		Schemas map[string]struct{ Properties map[string]any }
	}
}

type body struct {
	Content map[string]struct {
		Schema  map[string]any
		Example any
	}
}

func (e *edge) document(path string, headers ...string) document {
	e.t.Helper()
	status, _, text := e.do("GET", path, "", headers...)
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil || status != http.StatusOK {
		e.t.Fatalf("%s = %d %s", path, status, text)
	}
	return d
}

// TestDocument shows what a document says of a service that describes itself,
// of one that only the registry knows, and of the platform's own.
func TestDocument(t *testing.T) {
	t.Parallel()
	e := start(t)
	serveLetters(t, e)
	for _, tt := range []struct {
		path, operation, id, stream, request string
	}{
		{"/letters/openapi.json", "/letters/Echo/Say", "Echo_Say", "", "#/components/schemas/echo.SayRequest"},
		{"/v1/letters/openapi.json", "/letters/Echo/Count", "Echo_Count", "server", "#/components/schemas/echo.CountRequest"},
		{"/letters/openapi.json", "/letters/Echo/Sum", "Echo_Sum", "client", "#/components/schemas/echo.Number"},
		{"/letters/openapi.json", "/letters/Echo/Chat", "Echo_Chat", "bidirectional", ""},
		{"/echo/openapi.json", "/echo/Echo/Call", "Echo_Call", "", "#/components/schemas/Request"},
		{"/echo/openapi.json", "/echo/Echo/Stream", "Echo_Stream", "unknown", ""},
		{"/auth/openapi.json", "/auth/Auth/Token", "Auth_Token", "", "#/components/schemas/auth.TokenRequest"},
	} {
		d := e.document(tt.path)
		post := d.Paths[tt.operation].Post
		service := strings.Split(tt.operation, "/")[1]
		ref, _ := post.RequestBody.Content["application/json"].Schema["$ref"].(string)
		if post.OperationID != tt.id || post.Stream != tt.stream || post.Service != service || tt.request != "" && ref != tt.request {
			t.Errorf("%s: %s is %+v, want %+v", tt.path, tt.operation, post, tt)
		}
		if name, ok := strings.CutPrefix(ref, "#/components/schemas/"); ok && len(d.Components.Schemas[name].Properties) == 0 {
			t.Errorf("%s: no schema %q", tt.path, name)
		}
		if d.OpenAPI != "3.1.0" || d.Info.Title != service || d.Servers[0].URL != e.url {
			t.Errorf("%s: %s %+v %+v", tt.path, d.OpenAPI, d.Info, d.Servers)
		}
	}
}

// TestDocumentIsForCallers shows that a document tells everybody what they may
// call, and no anonymous caller whether there is such a service.
func TestDocumentIsForCallers(t *testing.T) {
	t.Parallel()
	e := start(t)
	anonymous := []string{"Authorization", "", "Micro-Namespace", "acme"}
	refused := func(service string) {
		t.Helper()
		status, _, known := e.do("GET", "/"+service+"/openapi.json", "", anonymous...)
		if status != http.StatusUnauthorized || strings.Contains(known, "not found") {
			t.Errorf("an anonymous caller asks for %s: %d %s", service, status, known)
		}
	}
	refused("echo")
	refused("nothere")
	if status, _, _ := e.do("GET", "/echo/openapi.json", "", "Authorization", "Bearer "+e.User(t, "other")); status != http.StatusNotFound {
		t.Errorf("an account of another namespace = %d, want 404", status)
	}
	if status, _, body := e.do("GET", "/nothere/openapi.json", ""); status != http.StatusNotFound {
		t.Errorf("a member asks for nothere: %d %s", status, body)
	}
	list, err := grants.ParseAll([]string{"echo:Echo.Fail:write"})
	if err != nil {
		t.Fatal(err)
	}
	limited := e.APIToken(identity.Caller{ID: "jane@acme", Namespace: "acme", Type: identity.User, Session: "one", Grants: list})
	if d := e.document("/echo/openapi.json", "Authorization", "Bearer "+limited); len(d.Paths) != 1 || d.Paths["/echo/Echo/Fail"].Post.OperationID == "" {
		t.Errorf("an API token sees %v", d.Paths)
	}
	e.Change(&authpb.Change{Rules: &authpb.RuleSet{Namespace: "acme", Rules: []*authpb.Rule{
		{Id: "all", Scope: "*", Access: authpb.Access_GRANTED, Resource: &authpb.Resource{Type: "*", Name: "*", Endpoint: "*"}},
		{Id: "open", Access: authpb.Access_GRANTED, Resource: &authpb.Resource{Type: "service", Name: "echo", Endpoint: "Echo.Call"}},
	}}})
	e.until(func() bool {
		status, _, _ := e.do("GET", "/echo/openapi.json", "", anonymous...)
		return status == http.StatusOK
	})
	d := e.document("/echo/openapi.json", anonymous...)
	if got := len(d.Paths); got != 1 || d.Paths["/echo/Echo/Call"].Post.OperationID == "" {
		t.Errorf("an anonymous caller sees %v", d.Paths)
	}
	d = e.document("/echo/openapi.json")
	paths := []string{}
	for p := range d.Paths {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	if got := strings.Join(paths, " "); got != "/echo/Echo/Call /echo/Echo/Chat /echo/Echo/Fail /echo/Echo/Flood /echo/Echo/Late /echo/Echo/Silent /echo/Echo/Stream /echo/Echo/Wait" {
		t.Errorf("a member sees %s", got)
	}
}

// TestAnonymousLearnNoNames shows that the answer to who may not call says the
// same about a service that is there and about one that is not, on all paths,
// and that the registry is not asked.
func TestAnonymousLearnNoNames(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.RegisterQuietly("acme", edgetest.NewService(t, "quiet").Entry())
	before := e.Asked()
	for _, path := range []string{"/NAME/openapi.json", "/v1/NAME/openapi.json", "/NAME/Words/Call", "/v1/NAME/Words/Call", "/v1/NAME/call", "/NAME"} {
		answers := map[string]bool{}
		for _, name := range []string{"echo", "quiet", "nothere"} {
			status, header, body := e.do("GET", strings.ReplaceAll(path, "NAME", name), "", "Authorization", "", "Micro-Namespace", "acme", "X-Request-Id", "one")
			if status != http.StatusUnauthorized {
				t.Errorf("%s of %s = %d %s", path, name, status, body)
			}
			header.Del("Date")
			header.Del("Content-Length") // the names differ in length
			for _, n := range []string{name, strings.ToUpper(name[:1]) + name[1:]} {
				body = strings.ReplaceAll(body, n, "NAME")
			}
			answers[fmt.Sprint(header, body)] = true
		}
		if len(answers) != 1 {
			t.Errorf("%s has %d answers: %v", path, len(answers), answers)
		}
	}
	if n := e.Asked() - before; n != 0 {
		t.Errorf("anonymous callers made the registry look %d times", n)
	}
}

// TestDocumentsAreCalls shows that a document is held to what a call is, counts as
// one, and that its service is not asked for each.
func TestDocumentsAreCalls(t *testing.T) {
	t.Parallel()
	usage := &edgetest.Usage{}
	e := start(t, usage.Component())
	asked := e.service.Calls.Load()
	for range 5 {
		if status, _, text := e.do("GET", "/echo/openapi.json", ""); status != http.StatusOK {
			t.Fatal(status, text)
		}
	}
	if n := e.service.Calls.Load() - asked; n != 1 {
		t.Errorf("five documents asked the service %d times, want 1", n)
	}
	e.until(func() bool {
		n := 0
		for _, r := range usage.Records("echo") {
			if r.Endpoint == "" && r.Class == meter.OK {
				n++
			}
		}
		return n == 5
	})
	for _, tt := range []struct {
		name   string
		tenant *namespacespb.Tenant
		status int
	}{
		{"rate", &namespacespb.Tenant{Namespace: "acme", Plan: "free", Limits: map[string]int64{"rate": 0}}, http.StatusTooManyRequests},
		{"stopped service", &namespacespb.Tenant{Namespace: "acme", Plan: "local", Throttles: []*namespacespb.Throttle{{Service: "echo", Action: namespacespb.Action_STOP, Reason: "its budget"}}}, http.StatusTooManyRequests},
		{"suspended", &namespacespb.Tenant{Namespace: "acme", Plan: "local", Suspension: &namespacespb.Suspension{Reason: "spam"}}, http.StatusForbidden},
	} {
		e.Tenant(tt.tenant)
		status, text := 0, ""
		for end := time.Now().Add(settle); status != tt.status && time.Now().Before(end); {
			status, _, text = e.do("GET", "/echo/openapi.json", "")
		}
		if status != tt.status {
			t.Errorf("%s: %d %s", tt.name, status, text)
		}
	}
}
