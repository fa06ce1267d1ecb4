package server

import (
	"reflect"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// reflect serves the descriptors of the handlers' messages, for tools such as
// grpcurl and for edges that turn JSON into protobuf.
func (s *Server) reflect() {
	reflectionpb.RegisterServerReflectionServer(s.grpc, reflection.NewServerV1(reflection.ServerOptions{Services: described{s}}))
}

// described names the services that reflection lists.
type described struct{ s *Server }

// GetServiceInfo implements reflection.ServiceInfoProvider.
func (d described) GetServiceInfo() map[string]grpc.ServiceInfo {
	services := d.s.grpc.GetServiceInfo()
	delete(services, d.s.name+".Debug") // no .proto file knows it by this name
	for _, name := range d.s.files {
		services[name] = grpc.ServiceInfo{}
	}
	return services
}

// describeFile finds the service of a handler in the .proto file that its
// messages come from. A handler without one is not listed. What the file says of
// calls that may be made twice is noted.
func (s *Server) describeFile(handler string, methods []method) {
	d := serviceOf(handler, methods)
	if d == nil {
		return
	}
	s.files = append(s.files, string(d.FullName()))
	for i, m := range methods {
		_, name, _ := strings.Cut(m.name, ".")
		if is := d.Methods().ByName(protoreflect.Name(name)); is != nil {
			o, _ := is.Options().(*descriptorpb.MethodOptions)
			methods[i].idempotent = o.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
		}
	}
}

func serviceOf(handler string, methods []method) protoreflect.ServiceDescriptor {
	for _, m := range methods {
		for _, t := range []reflect.Type{m.request, m.response} {
			if t == nil {
				continue
			}
			msg, ok := reflect.New(t).Interface().(proto.Message)
			if !ok {
				continue
			}
			file := msg.ProtoReflect().Descriptor().ParentFile()
			if d := file.Services().ByName(protoreflect.Name(handler)); d != nil {
				return d
			}
		}
	}
	return nil
}
