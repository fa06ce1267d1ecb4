package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// route is one of the REST API, and the RPC that it calls.
type route struct {
	method, path string
	body         string // the field that the body is, "*" for all that are not in the path
	rpc          rpcOf
}

// byHand are the routes that no rest.yaml has.
var byHand = map[string]binding{
	"POST /platform/v1/sources/{service}":             {selector: "runtime.Source.Upload"},
	"GET /platform/v1/namespaces/{namespace}/export":  {selector: "namespaces.Archives.Export"},
	"POST /platform/v1/namespaces/{namespace}/export": {selector: "namespaces.Archives.Export"},
}

// everyRoute lists what the server says that there is.
func (v *victim) everyRoute(t *testing.T) []route {
	t.Helper()
	status, doc := v.http(t.Context(), t, v.self, http.MethodGet, "/platform/v1/openapi.json", "", "")
	var api struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal([]byte(doc), &api); err != nil || status != http.StatusOK || len(api.Paths) == 0 {
		t.Fatalf("openapi.json: %d %v", status, err)
	}
	bindings := restBindings(t)
	var all []route
	for path, operations := range api.Paths {
		for method := range operations {
			to, ok := bindings[strings.ToUpper(method)+" "+path]
			if !ok {
				t.Fatalf("%s %s calls an RPC that this test does not know", method, path)
			}
			at := strings.LastIndex(to.selector, ".")
			all = append(all, route{strings.ToUpper(method), path, to.body, rpcNamed(t, "/"+to.selector[:at]+"/"+to.selector[at+1:])})
		}
	}
	return all
}

// binding is the RPC of a route, "auth.Accounts.List", and its body.
type binding struct{ selector, body string }

// restBindings answers what routes call, by "GET /platform/v1/accounts".
func restBindings(t *testing.T) map[string]binding {
	t.Helper()
	files, err := filepath.Glob("../proto/*/rest.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	out := maps.Clone(byHand)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		type rule struct {
			Selector, Body                string
			Get, Post, Put, Patch, Delete string
			More                          []rule `yaml:"additional_bindings"`
		}
		var d struct{ HTTP struct{ Rules []rule } }
		if err := yaml.Unmarshal(b, &d); err != nil {
			t.Fatal(file, err)
		}
		for _, r := range d.HTTP.Rules {
			for _, way := range append(r.More, r) {
				for method, path := range map[string]string{"GET": way.Get, "POST": way.Post, "PUT": way.Put, "PATCH": way.Patch, "DELETE": way.Delete} {
					if path != "" {
						// A path's variable may have a pattern, which OpenAPI leaves out.
						out[method+" "+strings.ReplaceAll(path, "=**}", "}")] = binding{r.Selector, way.Body}
					}
				}
			}
		}
	}
	return out
}

// request asks by a route for what the victim has, with all that can be known of
// it. The namespace is named wherever there is a place for one.
func (v *victim) request(t *testing.T, c caller, r route, header, namespace string) (status int, answer string) {
	t.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(r.rpc.request(v.names, namespace))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Error(err)
		return 0, ""
	}
	target := r.path
	for {
		before, rest, ok := strings.Cut(target, "{")
		if !ok {
			break
		}
		name, after, _ := strings.Cut(rest, "}")
		target = before + url.PathEscape(taken(fields, strings.Split(name, "."))) + after
	}
	var body any
	switch r.body {
	case "":
	case "*":
		body, fields = fields, nil
	default:
		body = fields[r.body]
		delete(fields, r.body)
	}
	query := url.Values{}
	parameters(query, "", fields)
	if text = nil; body != nil {
		if text, err = json.Marshal(body); err != nil {
			t.Error(err)
			return 0, ""
		}
	}
	return v.http(t.Context(), t, c, r.method, target+"?"+query.Encode(), header, string(text))
}

// taken takes a field out that stands in a path. A number is 1: those that are
// nothing are not there.
func taken(fields map[string]any, path []string) string {
	for ; len(path) > 1; path = path[1:] {
		fields, _ = fields[path[0]].(map[string]any)
	}
	value, ok := fields[path[0]].(string)
	delete(fields, path[0])
	if !ok {
		return "1"
	}
	return value
}

// parameters makes a query of fields. Lists of messages cannot stand in one.
func parameters(query url.Values, prefix string, fields map[string]any) {
	for name, value := range fields {
		switch value := value.(type) {
		case map[string]any:
			parameters(query, prefix+name+".", value)
		case []any:
		default:
			query.Set(prefix+name, fmt.Sprint(value))
		}
	}
}
