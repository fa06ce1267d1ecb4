package tests

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/micro/platform/framework/errors"
	_ "github.com/micro/platform/proto/audit" // every API is tried; TestTenancy finds the one that is missing here
	_ "github.com/micro/platform/proto/auth"
	_ "github.com/micro/platform/proto/broker"
	_ "github.com/micro/platform/proto/builder"
	_ "github.com/micro/platform/proto/config"
	_ "github.com/micro/platform/proto/debug"
	_ "github.com/micro/platform/proto/events"
	_ "github.com/micro/platform/proto/host"
	_ "github.com/micro/platform/proto/namespaces"
	_ "github.com/micro/platform/proto/network"
	_ "github.com/micro/platform/proto/registry"
	_ "github.com/micro/platform/proto/runtime"
	_ "github.com/micro/platform/proto/scheduler"
	_ "github.com/micro/platform/proto/store"
	_ "github.com/micro/platform/proto/usage"
)

const (
	// unaryWithin bounds a call, and streamWithin how long a stream is listened
	// to that does not end.
	unaryWithin  = 20 * time.Second
	streamWithin = 500 * time.Millisecond
)

// rpcOf is a method of the platform as it is called.
type rpcOf struct {
	path   string // "/auth.Accounts/List"
	method protoreflect.MethodDescriptor
}

// endpoint answers "auth" and "Accounts.List".
func (r rpcOf) endpoint() (service, endpoint string) {
	service, rest, _ := strings.Cut(strings.TrimPrefix(r.path, "/"), ".")
	return service, strings.ReplaceAll(rest, "/", ".")
}

func (r rpcOf) streams() bool { return r.method.IsStreamingClient() || r.method.IsStreamingServer() }

// everyRPC lists the methods of every proto, those that no edge serves too.
func everyRPC() []rpcOf {
	var out []rpcOf
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(f.Package()), "grpc.") || strings.HasPrefix(string(f.Package()), "google.") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				if f.Package() != "debug" {
					out = append(out, rpcOf{"/" + string(s.FullName()) + "/" + string(m.Name()), m})
					continue
				}
				for _, component := range []string{"auth", "registry", "runtime", "namespaces", "network"} { // each has it, under its name
					out = append(out, rpcOf{"/" + component + ".Debug/" + string(m.Name()), m})
				}
			}
		}
		return true
	})
	return out
}

// known are the values that a caller has for the fields of a request, by
// "auth.Accounts/id" or "id".
type known map[string]string

func (k known) value(api, field string) (string, bool) {
	if v, ok := k[api+"/"+field]; ok {
		return v, true
	}
	v, ok := k[field]
	return v, ok
}

// namespaces are the fields that say whose something is.
var namespaces = map[string]bool{"namespace": true, "domain": true, "database": true, "issuer": true, "network": true}

// left are messages that no request has, since they make it another one.
var left = map[protoreflect.FullName]bool{"audit.Filter": true, "runtime.Namespace": true, "runtime.NetworkPolicy": true, "runtime.ResourceQuota": true}

// request makes a request in which every field is filled that k knows, and
// every one that names a namespace with this one.
func (r rpcOf) request(k known, namespace string) proto.Message {
	api := strings.TrimPrefix(r.path[:strings.LastIndex(r.path, "/")], "/")
	m := dynamicpb.NewMessage(r.method.Input())
	fill(m, api, k, namespace, 0)
	return m
}

// fixed are the fields that are no texts and that make an answer larger.
var fixed = map[protoreflect.Name]struct {
	kind  protoreflect.Kind
	value protoreflect.Value
}{
	"count": {protoreflect.Int64Kind, protoreflect.ValueOfInt64(100)},
	"limit": {protoreflect.Uint64Kind, protoreflect.ValueOfUint64(100)},
	"depth": {protoreflect.Uint32Kind, protoreflect.ValueOfUint32(9)},
	"build": {protoreflect.BoolKind, protoreflect.ValueOfBool(true)},
}

func fill(m protoreflect.Message, api string, k known, namespace string, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap() || f.IsList() && f.Kind() != protoreflect.MessageKind:
		case f.IsList():
			if depth < 4 {
				fill(m.Mutable(f).List().AppendMutable().Message(), api, k, namespace, depth+1)
			}
		case f.Kind() == protoreflect.MessageKind:
			if depth < 4 && !left[f.Message().FullName()] {
				fill(m.Mutable(f).Message(), api, k, namespace, depth+1)
			}
		case f.Kind() == protoreflect.StringKind && namespaces[string(f.Name())]:
			m.Set(f, protoreflect.ValueOfString(namespace))
		case f.Kind() == protoreflect.StringKind:
			if v, ok := k.value(api, string(f.Name())); ok {
				m.Set(f, protoreflect.ValueOfString(v))
			}
		case f.Kind() == protoreflect.BytesKind:
			m.Set(f, protoreflect.ValueOfBytes([]byte("{}")))
		default:
			if v, ok := fixed[f.Name()]; ok && v.kind == f.Kind() {
				m.Set(f, v.value)
			}
		}
	}
}

// caller is somebody at the gRPC edge.
type caller struct {
	name, token string
	conn        *grpc.ClientConn
}

// call is callWithin for as long as such a call takes on an idle machine.
func (c caller) call(ctx context.Context, r rpcOf, header string, req proto.Message) (string, error) {
	if r.streams() {
		return c.callWithin(ctx, streamWithin, r, header, req)
	}
	return c.callWithin(ctx, unaryWithin, r, header, req)
}

// callWithin sends one request, with a namespace in the metadata unless it is empty,
// and answers all that came back as JSON, or the error.
func (c caller) callWithin(ctx context.Context, within time.Duration, r rpcOf, header string, req proto.Message) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if c.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.token)
	}
	if header != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "micro-namespace", header)
	}
	s, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, r.path)
	if err != nil {
		return "", err
	}
	if err := s.SendMsg(req); err != nil && err != io.EOF {
		return "", err
	}
	if err := s.CloseSend(); err != nil {
		return "", err
	}
	var out strings.Builder
	for {
		rsp := dynamicpb.NewMessage(r.method.Output())
		if err := s.RecvMsg(rsp); err == io.EOF || err != nil && r.streams() && ctx.Err() != nil {
			return out.String(), nil
		} else if err != nil {
			return out.String(), err
		}
		out.WriteString(readable(rsp))
	}
}

// readable is a message as JSON, what its bytes hold in clear.
func readable(m *dynamicpb.Message) string {
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err.Error()
	}
	var tree any
	if json.Unmarshal(b, &tree) != nil {
		return string(b)
	}
	text, err := json.Marshal(stable(tree))
	if err != nil {
		return err.Error()
	}
	var bytes strings.Builder
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		collect(&bytes, f, v)
		return true
	})
	return string(text) + bytes.String()
}

// collect writes what the bytes in a message are.
func collect(out *strings.Builder, f protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch {
	case f.IsMap():
	case f.IsList():
		for i := range v.List().Len() {
			if f.Kind() == protoreflect.MessageKind {
				v.List().Get(i).Message().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool { collect(out, f, v); return true })
			}
		}
	case f.Kind() == protoreflect.MessageKind:
		v.Message().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool { collect(out, f, v); return true })
	case f.Kind() == protoreflect.BytesKind:
		out.Write(v.Bytes())
	}
}

// moving are fields that change by themselves, as time goes by.
var moving = map[string]bool{"timestamp": true, "renewed": true, "last_used": true, "since": true, "uptime": true, "as_of": true}

// stable leaves out what changes by itself.
func stable(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			if v[name] = stable(x); moving[name] {
				delete(v, name)
			}
		}
	case []any:
		for i := range v {
			v[i] = stable(v[i])
		}
	}
	return v
}

// detail is an error as a person reads it.
func detail(err error) string {
	if err == nil {
		return ""
	}
	return errors.FromError(err).Error()
}

// fields makes a request from JSON, for what a test sets up.
func (r rpcOf) fields(t *testing.T, text string) proto.Message {
	t.Helper()
	m := dynamicpb.NewMessage(r.method.Input())
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatalf("%s: %v", r.path, err)
	}
	return m
}
