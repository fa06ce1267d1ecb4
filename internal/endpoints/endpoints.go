package endpoints

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	registrypb "github.com/micro/platform/proto/registry"
)

// maxDepth cuts trees of nested messages, and ends those of recursive ones.
const maxDepth = 6

// Of describes the methods of a service, in the order of the .proto.
func Of(service protoreflect.ServiceDescriptor) []*registrypb.Endpoint {
	methods := service.Methods()
	all := make([]*registrypb.Endpoint, 0, methods.Len())
	for i := range methods.Len() {
		m := methods.Get(i)
		e := &registrypb.Endpoint{
			Name:     string(service.Name()) + "." + string(m.Name()),
			Request:  tree(m.Input()),
			Response: tree(m.Output()),
		}
		if m.IsStreamingClient() || m.IsStreamingServer() {
			e.Metadata = map[string]string{"stream": "true"}
		}
		all = append(all, e)
	}
	return all
}

func tree(m protoreflect.MessageDescriptor) *registrypb.Value {
	name := goName(m)
	return &registrypb.Value{Name: name, Type: name, Values: fields(m, 1)}
}

func fields(m protoreflect.MessageDescriptor, depth int) []*registrypb.Value {
	if depth > maxDepth {
		return nil
	}
	var all []*registrypb.Value
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if f.ContainingOneof() != nil && !f.HasOptionalKeyword() {
			continue // a choice does not fit into a tree of fields
		}
		v := &registrypb.Value{Name: string(f.Name()), Type: typeName(f)}
		if f.Message() != nil && !f.IsList() && !f.IsMap() {
			v.Values = fields(f.Message(), depth+1)
		}
		all = append(all, v)
	}
	return all
}

func typeName(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "map[" + single(f.MapKey()) + "]" + single(f.MapValue())
	case f.IsList():
		return "[]" + single(f)
	default:
		return single(f)
	}
}

// single is the Go type of one value, without its package.
func single(f protoreflect.FieldDescriptor) string {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return goName(f.Message())
	case protoreflect.EnumKind:
		return goName(f.Enum())
	case protoreflect.BytesKind:
		return "[]uint8"
	case protoreflect.FloatKind:
		return "float32"
	case protoreflect.DoubleKind:
		return "float64"
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return "int32"
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return "int64"
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return "uint32"
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return "uint64"
	default: // bool, string
		return f.Kind().String()
	}
}

// goName is the name that generated Go code has for a message or an enum: the
// messages it is nested in come first.
func goName(d protoreflect.Descriptor) string {
	name := strings.TrimPrefix(string(d.FullName()), string(d.ParentFile().Package()))
	return strings.ReplaceAll(strings.TrimPrefix(name, "."), ".", "_")
}
