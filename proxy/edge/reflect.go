package edge

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// What a service may tell about itself. It is somebody else's code.
const (
	maxHandlers   = 100
	maxFiles      = 500
	maxReflection = 512 << 10 // bytes
)

// errNotDescribed says that a service does not know what it was asked about.
var errNotDescribed = errors.New("reflection: not described")

// reflection asks a service for its descriptors.
type reflection struct {
	stream grpc.ClientStream
	files  map[string]*descriptorpb.FileDescriptorProto
	size   int
}

// reflectHandlers answers the descriptors of a service's handlers.
func reflectHandlers(ctx context.Context, c *Call) ([]protoreflect.ServiceDescriptor, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the stream
	defer cancel()
	c.method = reflectionpb.ServerReflection_ServerReflectionInfo_FullMethodName
	s, err := c.open(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true})
	if err != nil {
		return nil, err
	}
	r := reflection{stream: s, files: map[string]*descriptorpb.FileDescriptorProto{}}
	names, err := r.list()
	if err != nil {
		return nil, err
	}
	var known []string
	for _, name := range names {
		err := r.fetch(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}})
		switch {
		case err == nil:
			known = append(known, name)
		case !errors.Is(err, errNotDescribed): // a handler need not come from a .proto
			return nil, fmt.Errorf("describe %s: %w", name, err)
		}
	}
	if err := r.imports(); err != nil {
		return nil, err
	}
	return r.handlers(known)
}

func (r *reflection) ask(q *reflectionpb.ServerReflectionRequest) (*reflectionpb.ServerReflectionResponse, error) {
	if err := r.stream.SendMsg(q); err != nil {
		return nil, err
	}
	var a reflectionpb.ServerReflectionResponse
	if err := r.stream.RecvMsg(&a); err != nil {
		return nil, err
	}
	if e := a.GetErrorResponse(); e != nil {
		return nil, fmt.Errorf("%w: %s", errNotDescribed, e.GetErrorMessage())
	}
	if r.size += proto.Size(&a); r.size > maxReflection {
		return nil, fmt.Errorf("reflection: more than %d bytes", maxReflection)
	}
	return &a, nil
}

// list answers the full names of the handlers, without those of gRPC itself.
func (r *reflection) list() ([]string, error) {
	a, err := r.ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range a.GetListServicesResponse().GetService() {
		if !strings.HasPrefix(s.GetName(), "grpc.") {
			names = append(names, s.GetName())
		}
	}
	if len(names) > maxHandlers {
		return nil, fmt.Errorf("reflection: more than %d handlers", maxHandlers)
	}
	return names, nil
}

// fetch asks for files and keeps them.
func (r *reflection) fetch(q *reflectionpb.ServerReflectionRequest) error {
	a, err := r.ask(q)
	if err != nil {
		return err
	}
	for _, b := range a.GetFileDescriptorResponse().GetFileDescriptorProto() {
		var f descriptorpb.FileDescriptorProto
		if err := proto.Unmarshal(b, &f); err != nil {
			return fmt.Errorf("reflection: %w", err)
		}
		r.files[f.GetName()] = &f
	}
	if len(r.files) > maxFiles {
		return fmt.Errorf("reflection: more than %d files", maxFiles)
	}
	return nil
}

// imports fetches what the files import, until nothing is missing.
func (r *reflection) imports() error {
	for {
		missing := r.missing()
		if missing == "" {
			return nil
		}
		if err := r.fetch(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: missing}}); err != nil {
			return err
		}
		if r.files[missing] == nil {
			return fmt.Errorf("reflection: no file %q", missing)
		}
	}
}

func (r *reflection) missing() string {
	for _, f := range r.files {
		for _, name := range f.GetDependency() {
			if r.files[name] == nil {
				return name
			}
		}
	}
	return ""
}

func (r *reflection) handlers(names []string) ([]protoreflect.ServiceDescriptor, error) {
	set := &descriptorpb.FileDescriptorSet{}
	for _, f := range r.files {
		set.File = append(set.File, f)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("reflection: %w", err)
	}
	var out []protoreflect.ServiceDescriptor
	for _, name := range names {
		d, err := files.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			return nil, fmt.Errorf("reflection: %w", err)
		}
		if s, ok := d.(protoreflect.ServiceDescriptor); ok {
			out = append(out, s)
		}
	}
	return out, nil
}
