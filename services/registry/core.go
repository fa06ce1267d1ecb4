package registry

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/micro/platform/internal/endpoints"
	"github.com/micro/platform/internal/identity"
	authpb "github.com/micro/platform/proto/auth"
	brokerpb "github.com/micro/platform/proto/broker"
	configpb "github.com/micro/platform/proto/config"
	eventspb "github.com/micro/platform/proto/events"
	namespacespb "github.com/micro/platform/proto/namespaces"
	networkpb "github.com/micro/platform/proto/network"
	registrypb "github.com/micro/platform/proto/registry"
	runtimepb "github.com/micro/platform/proto/runtime"
	storepb "github.com/micro/platform/proto/store"
)

// core is the entries of the platform's services, so that commands can be made
// of their endpoints. Nothing is routed by them.
type core map[string]*registrypb.Service

func newCore() core {
	c := core{}
	for name, api := range map[string]struct {
		file     protoreflect.FileDescriptor
		handlers []protoreflect.Name // that people may call
	}{
		"auth":       {authpb.File_auth_auth_proto, []protoreflect.Name{"Auth", "Accounts", "Rules", "Keys"}},
		"broker":     {brokerpb.File_broker_broker_proto, []protoreflect.Name{"Broker"}},
		"config":     {configpb.File_config_config_proto, []protoreflect.Name{"Config"}},
		"events":     {eventspb.File_events_events_proto, []protoreflect.Name{"Stream", "Store", "Topics", "Groups"}},
		"network":    {networkpb.File_network_network_proto, []protoreflect.Name{"Network"}},
		"namespaces": {namespacespb.File_namespaces_namespaces_proto, []protoreflect.Name{"Signup", "Namespaces"}},
		"registry":   {registrypb.File_registry_registry_proto, []protoreflect.Name{"Registry"}},
		"runtime":    {runtimepb.File_runtime_runtime_proto, []protoreflect.Name{"Runtime", "Source", "Build"}},
		"store":      {storepb.File_store_store_proto, []protoreflect.Name{"Store", "BlobStore"}},
	} {
		s := &registrypb.Service{
			Name: name, Version: defaultVersion,
			Metadata: map[string]string{"domain": identity.Platform},
			Nodes:    []*registrypb.Node{{Id: name, Address: "platform", Metadata: map[string]string{"server": "grpc"}}},
		}
		for _, h := range api.handlers {
			s.Endpoints = append(s.Endpoints, endpoints.Of(api.file.Services().ByName(h))...)
		}
		c[name] = s
	}
	return c
}

// get answers an entry that the caller may change.
func (c core) get(name string) (*registrypb.Service, bool) {
	s, ok := c[name]
	if !ok {
		return nil, false
	}
	return proto.CloneOf(s), true
}

func (c core) list() []*registrypb.Service {
	all := slices.Collect(maps.Values(c))
	slices.SortFunc(all, func(a, b *registrypb.Service) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all
}
