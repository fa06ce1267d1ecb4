package edge

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/endpoints"
	auditpb "github.com/micro/platform/proto/audit"
	authpb "github.com/micro/platform/proto/auth"
	brokerpb "github.com/micro/platform/proto/broker"
	configpb "github.com/micro/platform/proto/config"
	debugpb "github.com/micro/platform/proto/debug"
	eventspb "github.com/micro/platform/proto/events"
	namespacespb "github.com/micro/platform/proto/namespaces"
	networkpb "github.com/micro/platform/proto/network"
	registrypb "github.com/micro/platform/proto/registry"
	runtimepb "github.com/micro/platform/proto/runtime"
	storepb "github.com/micro/platform/proto/store"
	usagepb "github.com/micro/platform/proto/usage"
)

// components says which component serves an API of the platform. What is not
// here cannot be reached from outside, whoever calls.
var components = map[string]string{
	auditpb.Audit_ServiceDesc.ServiceName:           "audit",
	authpb.Auth_ServiceDesc.ServiceName:             "auth",
	authpb.Accounts_ServiceDesc.ServiceName:         "auth",
	authpb.Rules_ServiceDesc.ServiceName:            "auth",
	authpb.Keys_ServiceDesc.ServiceName:             "auth",
	authpb.Tokens_ServiceDesc.ServiceName:           "auth",
	authpb.Sessions_ServiceDesc.ServiceName:         "auth",
	authpb.People_ServiceDesc.ServiceName:           "auth",
	authpb.Factors_ServiceDesc.ServiceName:          "auth",
	authpb.Passwords_ServiceDesc.ServiceName:        "auth",
	authpb.Providers_ServiceDesc.ServiceName:        "auth",
	authpb.Passkeys_ServiceDesc.ServiceName:         "auth",
	authpb.Devices_ServiceDesc.ServiceName:          "auth",
	brokerpb.Broker_ServiceDesc.ServiceName:         "broker",
	configpb.Config_ServiceDesc.ServiceName:         "config",
	eventspb.Stream_ServiceDesc.ServiceName:         "events",
	eventspb.Store_ServiceDesc.ServiceName:          "events",
	eventspb.Topics_ServiceDesc.ServiceName:         "events",
	eventspb.Groups_ServiceDesc.ServiceName:         "events",
	namespacespb.Signup_ServiceDesc.ServiceName:     "namespaces",
	namespacespb.Namespaces_ServiceDesc.ServiceName: "namespaces",
	namespacespb.Members_ServiceDesc.ServiceName:    "namespaces",
	namespacespb.Invites_ServiceDesc.ServiceName:    "namespaces",
	namespacespb.Plans_ServiceDesc.ServiceName:      "namespaces",
	namespacespb.Archives_ServiceDesc.ServiceName:   "namespaces",
	namespacespb.Imports_ServiceDesc.ServiceName:    "namespaces",
	networkpb.Network_ServiceDesc.ServiceName:       "network",
	registrypb.Registry_ServiceDesc.ServiceName:     "registry",
	runtimepb.Runtime_ServiceDesc.ServiceName:       "runtime",
	runtimepb.Source_ServiceDesc.ServiceName:        "runtime",
	runtimepb.Build_ServiceDesc.ServiceName:         "runtime",
	storepb.Store_ServiceDesc.ServiceName:           "store",
	storepb.BlobStore_ServiceDesc.ServiceName:       "store",
	usagepb.Usage_ServiceDesc.ServiceName:           "usage",
	usagepb.Budgets_ServiceDesc.ServiceName:         "usage",
}

// kind is how a method answers.
type kind int

const (
	unknown kind = iota
	unary
	streaming
)

// split takes a method apart: "/helloworld.Helloworld/Call" is the service
// "helloworld" and its endpoint "Helloworld.Call".
func split(method string) (service, endpoint string, err error) {
	path, name, ok := cutLast(strings.TrimPrefix(method, "/"), "/")
	service, handler, dot := cutLast(path, ".")
	if !ok || !dot || service == "" {
		return "", "", errors.New(codes.InvalidArgument, "service name is blank").From("go.micro.proxy")
	}
	return service, handler + "." + name, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", "", false
}

// method is a method of the platform.
type method struct {
	component string
	endpoint  *registrypb.Endpoint
	stream    kind
	// halfClose says that it takes one message only.
	halfClose bool
}

// methods lists what components serve, by full name.
func methods() (map[string]method, error) {
	out := map[string]method{}
	debug := debugpb.File_debug_debug_proto.Services().Get(0)
	for api, component := range components {
		for i, e := range endpoints.Of(debug) { // every component has it, under its own name
			name := fmt.Sprintf("/%s.Debug/%s", component, debug.Methods().Get(i).Name())
			out[name] = method{component: component, endpoint: e, stream: unary, halfClose: true}
		}
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(api))
		if err != nil {
			return nil, fmt.Errorf("describe %s: %w", api, err)
		}
		service := d.(protoreflect.ServiceDescriptor)
		for i, e := range endpoints.Of(service) {
			m := service.Methods().Get(i)
			known := method{component: component, endpoint: e, stream: unary, halfClose: !m.IsStreamingClient()}
			if m.IsStreamingServer() || m.IsStreamingClient() {
				known.stream = streaming
			}
			out["/"+api+"/"+string(m.Name())] = known
		}
	}
	return out, nil
}

// component answers the target of a method of the platform.
func (e *Edge) component(name string) (target, error) {
	m, ok := e.methods[name]
	if !ok {
		api, _, _ := cutLast(strings.TrimPrefix(name, "/"), "/")
		if components[api] != "" {
			return target{}, errors.New(codes.Unimplemented, "unknown method %s", strings.TrimPrefix(name, "/")).From("go.micro.client")
		}
		return target{}, errors.New(codes.Unimplemented, "unknown service %s", api).From("go.micro.client")
	}
	conn, err := e.conn(m.component)
	if err != nil {
		return target{}, err
	}
	t := target{component: conn, endpoint: m.endpoint, stream: m.stream, halfClose: m.halfClose}
	if m.stream == unary {
		t.local = e.local(m.component)
	}
	return t, nil
}
