package server

import (
	"reflect"
	"strings"

	registrypb "github.com/micro/platform/proto/registry"
)

// maxDepth cuts descriptions of nested messages, and ends those of recursive
// ones.
const maxDepth = 6

// describe answers what the registry shows of a message: its fields by the
// names of the .proto and their Go types without packages. Commands and consoles
// make flags and forms of it.
func describe(message reflect.Type) *registrypb.Value {
	return &registrypb.Value{Name: message.Name(), Type: message.Name(), Values: fields(message, 1)}
}

func fields(message reflect.Type, depth int) []*registrypb.Value {
	if depth > maxDepth {
		return nil
	}
	var values []*registrypb.Value
	for i := range message.NumField() {
		f := message.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || f.Tag.Get("protobuf_oneof") != "" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		t := f.Type
		if t.Kind() == reflect.Pointer { // a message, or an optional field
			t = t.Elem()
		}
		v := &registrypb.Value{Name: name, Type: typeName(t)}
		if t.Kind() == reflect.Struct {
			v.Values = fields(t, depth+1)
		}
		values = append(values, v)
	}
	return values
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Slice:
		return "[]" + typeName(t.Elem())
	case reflect.Map:
		return "map[" + typeName(t.Key()) + "]" + typeName(t.Elem())
	default:
		return t.Name() // of an enum, its own
	}
}
