package audit

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/google/go-cmp/cmp"

	"github.com/micro/platform/internal/identity"
	_ "github.com/micro/platform/proto/audit"
	authpb "github.com/micro/platform/proto/auth"
	_ "github.com/micro/platform/proto/broker"
	configpb "github.com/micro/platform/proto/config"
	eventspb "github.com/micro/platform/proto/events"
	_ "github.com/micro/platform/proto/namespaces"
	registrypb "github.com/micro/platform/proto/registry"
	runtimepb "github.com/micro/platform/proto/runtime"
	storepb "github.com/micro/platform/proto/store"
	_ "github.com/micro/platform/proto/usage"
)

func TestTold(t *testing.T) {
	t.Parallel()
	jane := identity.Caller{ID: "jane", Type: identity.User, Namespace: "acme", Scopes: []string{"admin"}}
	root := identity.Caller{ID: "root", Type: identity.User, Namespace: identity.Platform, Scopes: []string{"admin"}}
	own := identity.Caller{ID: "runtime", Type: identity.Component, Namespace: identity.Platform}
	for _, tt := range []struct {
		name   string
		caller identity.Caller
		method string
		req    proto.Message
		want   string // the namespace whose log it goes to, "" is none
	}{
		{"a change", jane, "/runtime.Runtime/Create", &runtimepb.CreateRequest{}, "acme"},
		{"a change of settings", jane, "/config.Config/Set", &configpb.SetRequest{}, "acme"},
		{"a member names another namespace, and is refused", jane, "/config.Config/Set", &configpb.SetRequest{Namespace: "other"}, "acme"},
		{"reading", jane, "/config.Config/Get", &configpb.GetRequest{}, ""},
		{"a record", jane, "/store.Store/Write", &storepb.WriteRequest{}, ""},
		{"an event", jane, "/events.Stream/Publish", &eventspb.PublishRequest{}, ""},
		{"a topic", jane, "/events.Topics/Delete", &eventspb.DeleteTopicRequest{}, "acme"},
		{"a registration", jane, "/registry.Registry/Register", &registrypb.Service{}, ""},
		{"a token", jane, "/auth.Auth/Token", &authpb.TokenRequest{}, ""},
		{"what nobody knows", jane, "/new.New/Thing", nil, "acme"},
		{"an operator at home", root, "/config.Config/Set", &configpb.SetRequest{}, "micro"},
		{"an operator elsewhere", root, "/config.Config/Set", &configpb.SetRequest{Namespace: "acme"}, "acme"},
		{"an operator reads elsewhere", root, "/config.Config/Get", &configpb.GetRequest{Namespace: "acme"}, "acme"},
		{"an operator reads a record elsewhere", root, "/store.Store/Read", &storepb.ReadRequest{Options: &storepb.ReadOptions{Database: "acme"}}, "acme"},
		{"an operator reads at home", root, "/config.Config/Get", &configpb.GetRequest{}, ""},
		{"a component", own, "/config.Config/Set", &configpb.SetRequest{Namespace: "acme"}, ""},
		{"health", jane, "/grpc.health.v1.Health/Check", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if ns, is := told(tt.caller, tt.method, tt.req); is != (tt.want != "") || is && ns != tt.want {
				t.Errorf("%q, %v, want %q", ns, is, tt.want)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		req  proto.Message
		want map[string]string
	}{
		{&configpb.SetRequest{Path: "mail.key", Value: &configpb.Value{Data: "secret"}}, map[string]string{"path": "mail.key"}},
		{
			&runtimepb.CreateRequest{Resource: &runtimepb.Resource{Service: &runtimepb.Service{Name: "notes", Source: "https://joe:hunter2@example.com/notes", Metadata: map[string]string{"id": "x"}}}},
			map[string]string{"resource.service.name": "notes", "resource.service.source": "https://example.com/notes"},
		},
		{
			&authpb.CreateRequest{Rule: &authpb.Rule{Id: "open", Access: authpb.Access_DENIED, Resource: &authpb.Resource{Name: "notes\x00" + strings.Repeat("n", 300)}}},
			map[string]string{"rule.id": "open", "rule.access": "DENIED", "rule.resource.name": "notes?" + strings.Repeat("n", 194) + "…"},
		},
		{nil, map[string]string{}},
	} {
		if d := cmp.Diff(tt.want, targets(tt.req)); d != "" {
			t.Error(d)
		}
	}
}

// TestNothingSecretIsTold fills every field of every request of the platform
// with its own name, and looks for those of secrets among what is told.
func TestNothingSecretIsTold(t *testing.T) {
	t.Parallel()
	secret := []string{"secret", "password", "token", "code", "value", "data", "payload", "body", "hash"}
	requests := 0
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(f.Package()), "google.") {
			return true
		}
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				m := dynamicpb.NewMessage(f.Services().Get(i).Methods().Get(j).Input())
				fill(m, maxDepth)
				requests++
				for name, value := range targets(m) {
					for _, s := range secret {
						if strings.Contains(value, s) {
							t.Errorf("%s tells %s = %q", m.Descriptor().FullName(), name, value)
						}
					}
				}
			}
		}
		return true
	})
	if requests < 50 {
		t.Errorf("only %d requests were looked at", requests)
	}
}

func fill(m *dynamicpb.Message, depth int) {
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		name := protoreflect.ValueOfString(string(f.Name()))
		switch {
		case f.IsMap():
		case f.IsList() && f.Kind() == protoreflect.StringKind:
			m.Mutable(f).List().Append(name)
		case f.IsList():
		case f.Message() != nil && depth > 1:
			fill(m.Mutable(f).Message().Interface().(*dynamicpb.Message), depth-1)
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, name)
		}
	}
}
