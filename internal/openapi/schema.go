package openapi

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	registrypb "github.com/micro/platform/proto/registry"
)

// schema is a JSON schema, as far as messages need it.
type schema struct {
	Ref                  string             `json:"$ref,omitempty"`
	Title                string             `json:"title,omitempty"`
	Description          string             `json:"description,omitempty"`
	Type                 string             `json:"type,omitempty"`
	Format               string             `json:"format,omitempty"`
	ContentEncoding      string             `json:"contentEncoding,omitempty"`
	Enum                 []string           `json:"enum,omitempty"`
	AnyOf                []*schema          `json:"anyOf,omitempty"`
	Items                *schema            `json:"items,omitempty"`
	Properties           map[string]*schema `json:"properties,omitempty"`
	AdditionalProperties *schema            `json:"additionalProperties,omitempty"`
	Required             []string           `json:"required,omitempty"`

	choice string // the oneof that a field is a member of
}

const schemaPath = "#/components/schemas/"

// schemas are the messages of a document, by name.
type schemas struct {
	named map[string]*schema
	trees map[string][]*registrypb.Value // messages of the registry, by type: of one name there may be several
}

func newSchemas(methods []method) *schemas {
	s := &schemas{named: map[string]*schema{}, trees: map[string][]*registrypb.Value{}}
	for _, m := range methods {
		if m.descriptor == nil {
			s.collect(m.GetRequest())
			s.collect(m.GetResponse())
		}
	}
	return s
}

// messages answers the schemas of a method's request and response.
func (s *schemas) messages(m method) (request, response *schema) {
	if d := m.descriptor; d != nil {
		return s.message(d.Input()), s.message(d.Output())
	}
	if m.stream() != "" { // what is registered is the type of the stream
		return object(), object()
	}
	return s.tree(m.GetRequest()), s.tree(m.GetResponse())
}

func object() *schema { return &schema{Type: "object"} }

// message answers a reference to a message, or the schema of one whose JSON is
// not an object of its fields.
func (s *schemas) message(d protoreflect.MessageDescriptor) *schema {
	if d.ParentFile().Package() == "google.protobuf" {
		if known := wellKnown(string(d.Name())); known != nil {
			return known
		}
	}
	name := string(d.FullName())
	if s.named[name] == nil {
		message := &schema{Title: string(d.Name()), Type: "object"}
		s.named[name] = message // before its fields: messages may hold themselves
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			if message.Properties == nil {
				message.Properties = map[string]*schema{}
			}
			field := s.field(f)
			if o := f.ContainingOneof(); o != nil {
				field.choice = string(o.Name())
			}
			message.Properties[string(f.Name())] = field
		}
	}
	return &schema{Ref: schemaPath + name}
}

func (s *schemas) field(f protoreflect.FieldDescriptor) *schema {
	switch {
	case f.IsMap():
		return &schema{Type: "object", AdditionalProperties: s.single(f.MapValue())}
	case f.IsList():
		return &schema{Type: "array", Items: s.single(f)}
	case f.Message() != nil: // one that is not set is null in answers
		return &schema{AnyOf: []*schema{s.single(f), {Type: "null"}}}
	}
	return s.single(f)
}

func (s *schemas) single(f protoreflect.FieldDescriptor) *schema {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return s.message(f.Message())
	case protoreflect.EnumKind:
		return enum(f.Enum())
	case protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return basic("int32")
	case protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return basic("int64")
	case protoreflect.Fixed32Kind:
		return basic("uint32")
	case protoreflect.Fixed64Kind:
		return basic("uint64")
	case protoreflect.FloatKind:
		return basic("float32")
	case protoreflect.DoubleKind:
		return basic("float64")
	case protoreflect.BytesKind:
		return basic("[]uint8")
	default: // bool, string, int32, int64, uint32, uint64
		return basic(f.Kind().String())
	}
}

func enum(d protoreflect.EnumDescriptor) *schema {
	if d.FullName() == "google.protobuf.NullValue" {
		return &schema{Type: "null"}
	}
	out := &schema{Title: string(d.Name()), Type: "string"}
	for i := range d.Values().Len() {
		out.Enum = append(out.Enum, string(d.Values().Get(i).Name()))
	}
	return out
}

// basic answers the schema of a basic type by its name in Go, or nil.
func basic(typ string) *schema {
	switch typ {
	case "string":
		return &schema{Type: "string"}
	case "bool":
		return &schema{Type: "boolean"}
	case "int32", "uint32":
		return &schema{Type: "integer", Format: typ}
	case "int64", "uint64":
		return &schema{Type: "string", Format: typ}
	case "float32":
		return &schema{Type: "number", Format: "float"}
	case "float64":
		return &schema{Type: "number", Format: "double"}
	case "[]uint8":
		return &schema{Type: "string", ContentEncoding: "base64"}
	}
	return nil
}

// wellKnown answers the schema of a message whose JSON is not an object of its
// fields, or nil.
func wellKnown(name string) *schema {
	switch name {
	case "Timestamp":
		return &schema{Type: "string", Format: "date-time"}
	case "Duration":
		return &schema{Type: "string", Format: "duration", Description: `Seconds with an s at the end: "1.5s"`}
	case "FieldMask":
		return &schema{Type: "string"}
	case "Any", "Struct", "Empty":
		return &schema{Type: "object"}
	case "Value":
		return &schema{}
	case "ListValue":
		return &schema{Type: "array", Items: &schema{}}
	case "BoolValue":
		return basic("bool")
	case "StringValue":
		return basic("string")
	case "BytesValue":
		return basic("[]uint8")
	case "Int32Value":
		return basic("int32")
	case "Int64Value":
		return basic("int64")
	case "UInt32Value":
		return basic("uint32")
	case "UInt64Value":
		return basic("uint64")
	case "FloatValue":
		return basic("float32")
	case "DoubleValue":
		return basic("float64")
	}
	return nil
}

func errorSchema() *schema {
	return &schema{Title: "Error", Type: "object", Required: []string{"id", "code", "detail", "status"}, Properties: map[string]*schema{
		"id":     {Type: "string", Description: "Where it came from"},
		"code":   {Type: "integer", Format: "int32", Description: "The HTTP status"},
		"detail": {Type: "string", Description: "What happened, for a person"},
		"status": {Type: "string", Description: "The reason phrase of code"},
	}}
}

// collect finds the messages in a tree of the registry. A tree ends at some
// depth, and elements of lists have no fields at all: what one place leaves out
// another may tell.
func (s *schemas) collect(v *registrypb.Value) {
	if len(v.GetValues()) == 0 {
		return
	}
	same := func(other *registrypb.Value) bool { return signature(other) == signature(v) }
	if name := v.GetType(); !slices.ContainsFunc(s.trees[name], same) {
		s.trees[name] = append(s.trees[name], v)
	}
	for _, f := range v.GetValues() {
		s.collect(f)
	}
}

// wellKnownFields are the signatures of messages that have a JSON of their own.
// Others may have their names.
var wellKnownFields = map[string]bool{
	"seconds int64\nnanos int32\n": true, "value bool\n": true, "value string\n": true, "value []uint8\n": true, "value int32\n": true,
	"value int64\n": true, "value uint32\n": true, "value uint64\n": true, "value float32\n": true, "value float64\n": true,
}

func signature(v *registrypb.Value) string {
	var b strings.Builder
	for _, f := range v.GetValues() {
		b.WriteString(f.GetName() + " " + f.GetType() + "\n")
	}
	return b.String()
}

// tree answers a reference to a message of the registry.
func (s *schemas) tree(v *registrypb.Value) *schema {
	if known := wellKnown(v.GetType()); known != nil && v.GetType() != "Value" && wellKnownFields[signature(v)] {
		return known
	}
	all := s.trees[v.GetType()]
	i := slices.IndexFunc(all, func(other *registrypb.Value) bool { return signature(other) == signature(v) })
	if i < 0 {
		return s.typ(v.GetType())
	}
	name := component(v.GetType())
	if i > 0 {
		name += strconv.Itoa(i + 1)
	}
	if s.named[name] == nil {
		message := &schema{Title: v.GetType(), Type: "object", Properties: map[string]*schema{}}
		s.named[name] = message
		for _, f := range v.GetValues() {
			message.Properties[f.GetName()] = s.treeField(f)
		}
	}
	return &schema{Ref: schemaPath + name}
}

func (s *schemas) treeField(f *registrypb.Value) *schema {
	if len(f.GetValues()) > 0 {
		return &schema{AnyOf: []*schema{s.tree(f), {Type: "null"}}}
	}
	return s.typ(f.GetType())
}

// typ answers the schema of a type by its name in Go. One that nothing is known
// of, such as an enum, may be anything.
func (s *schemas) typ(typ string) *schema {
	if b := basic(typ); b != nil {
		return b
	}
	if element, ok := strings.CutPrefix(typ, "[]"); ok {
		return &schema{Type: "array", Items: s.typ(element)}
	}
	if strings.HasPrefix(typ, "map[") {
		_, element, _ := strings.Cut(typ, "]")
		return &schema{Type: "object", AdditionalProperties: s.typ(element)}
	}
	if all := s.trees[typ]; len(all) == 1 {
		return s.tree(all[0])
	}
	return &schema{Title: typ}
}

// component makes a name that may stand in a reference.
func component(name string) string {
	return strings.Map(func(r rune) rune {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-' {
			return '_'
		}
		return r
	}, name)
}
