package endpoints

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	authpb "github.com/micro/platform/proto/auth"
	registrypb "github.com/micro/platform/proto/registry"
)

// field is a leaf of a tree.
func field(name, typ string, values ...*registrypb.Value) *registrypb.Value {
	return &registrypb.Value{Name: name, Type: typ, Values: values}
}

func TestOf(t *testing.T) {
	t.Parallel()
	got := Of(registrypb.File_registry_registry_proto.Services().ByName("Registry"))
	names := map[string]*registrypb.Endpoint{}
	for _, e := range got {
		names[e.GetName()] = e
	}
	want := &registrypb.Endpoint{
		Name:     "Registry.GetService",
		Request:  field("GetRequest", "GetRequest", field("service", "string"), field("options", "Options", field("ttl", "int64"), field("domain", "string"))),
		Response: field("GetResponse", "GetResponse", field("services", "[]Service")),
	}
	if diff := cmp.Diff(want, names["Registry.GetService"], protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if got := names["Registry.Watch"].GetMetadata()["stream"]; got != "true" {
		t.Errorf("stream = %q, want true", got)
	}
	service := names["Registry.Register"].GetRequest()
	if diff := cmp.Diff(field("metadata", "map[string]string"), service.GetValues()[2], protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		message protoreflect.MessageDescriptor
		field   protoreflect.Name
		want    string
	}{
		{(&authpb.Rule{}).ProtoReflect().Descriptor(), "access", "Access"},
		{(&authpb.Rule{}).ProtoReflect().Descriptor(), "priority", "int32"},
		{(&structpb.ListValue{}).ProtoReflect().Descriptor(), "values", "[]Value"},
		{(&structpb.Struct{}).ProtoReflect().Descriptor(), "fields", "map[string]Value"},
	} {
		if got := typeName(tt.message.Fields().ByName(tt.field)); got != tt.want {
			t.Errorf("%s = %q, want %q", tt.field, got, tt.want)
		}
	}
}

// TestRecursiveTypesEnd shows that a type that holds itself has a finite tree.
func TestRecursiveTypesEnd(t *testing.T) {
	t.Parallel()
	depth := 0
	for v := tree((&registrypb.Event{}).ProtoReflect().Descriptor()); v != nil; depth++ {
		var next *registrypb.Value
		for _, f := range v.GetValues() {
			if len(f.GetValues()) > 0 {
				next = f
			}
		}
		v = next
	}
	if depth > maxDepth+1 {
		t.Errorf("depth = %d, want at most %d", depth, maxDepth+1)
	}
}
