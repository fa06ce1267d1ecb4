package openapi

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/micro/platform/framework/testdata/echo"
	"github.com/micro/platform/internal/endpoints"
	registrypb "github.com/micro/platform/proto/registry"
)

var update = flag.Bool("update", false, "write the golden files")

// TestNew compares whole documents: of a service whose descriptors are known,
// and of one that only registered.
func TestNew(t *testing.T) {
	t.Parallel()
	handler := echo.File_framework_testdata_echo_echo_proto.Services().Get(0)
	described := Service{Name: "letters", Version: "v1", Server: "https://api.example.com", Handlers: []protoreflect.ServiceDescriptor{handler}}
	for _, e := range endpoints.Of(handler) {
		described.Endpoints = append(described.Endpoints, Endpoint{Endpoint: e, Public: e.GetName() == "Echo.Say"})
	}
	field := func(name, typ string, values ...*registrypb.Value) *registrypb.Value {
		return &registrypb.Value{Name: name, Type: typ, Values: values}
	}
	note := field("note", "Note", field("id", "string"), field("created", "int64"), field("kind", "Kind"), field("tags", "[]string"), field("data", "[]uint8"),
		field("at", "Timestamp", field("seconds", "int64"), field("nanos", "int32")), field("labels", "map[string]int32"))
	registered := Service{Name: "v1.notes", Version: "latest", Server: "https://api.example.com", Endpoints: []Endpoint{
		{Endpoint: &registrypb.Endpoint{Name: "Notes.Read", Request: field("ReadRequest", "ReadRequest", field("id", "string")), Response: field("ReadResponse", "ReadResponse", note)}},
		{Endpoint: &registrypb.Endpoint{Name: "Notes.List", Request: field("Request", "Request"), Response: field("ListResponse", "ListResponse", field("notes", "[]Note"))}},
		{Endpoint: &registrypb.Endpoint{Name: "Notes.Other", Request: field("ReadRequest", "ReadRequest", field("name", "string"))}},
		{Endpoint: &registrypb.Endpoint{Name: "Notes.Watch", Metadata: map[string]string{"stream": "true"}, Request: field("Context", "Context"), Response: field("Stream", "Stream")}},
		{Endpoint: &registrypb.Endpoint{Name: "Notes.Heard", Metadata: map[string]string{"subscriber": "true"}}},
		{Endpoint: &registrypb.Endpoint{Name: "no/../path.{x}"}},
	}}
	for name, s := range map[string]Service{"described": described, "registered": registered} {
		got, err := json.MarshalIndent(New(s), "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestExampleIsBounded shows that messages full of messages make no endless
// example.
func TestExampleIsBounded(t *testing.T) {
	t.Parallel()
	wide := &schema{Type: "object", Properties: map[string]*schema{}}
	s := &schemas{named: map[string]*schema{}}
	for _, outer := range "abcdefghijklmnopqrstuvwxyz" {
		inner := &schema{Type: "object", Properties: map[string]*schema{}}
		for _, c := range "abcdefghijklmnopqrstuvwxyz" {
			inner.Properties[string(c)] = &schema{Type: "object", Properties: map[string]*schema{"a": {Type: "string"}, "b": {Type: "string"}}}
		}
		wide.Properties[string(outer)] = inner
	}
	b, err := json.Marshal(s.example(wide))
	if err != nil || len(b) > 10_000 {
		t.Errorf("an example of %d bytes, %v", len(b), err)
	}
}
