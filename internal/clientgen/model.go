package clientgen

import (
	"maps"
	"slices"
	"strings"
)

// model is a service as the templates need it.
type model struct {
	Service  string
	Package  string // of Go
	Class    string // of TypeScript
	Methods  []method
	Messages []message
	Time     bool // whether a field is a time of Go
}

// method is an endpoint.
type method struct {
	Name, Service, Endpoint string
	Stream                  string
	Request, Response       string // types
}

// Unary says that a method takes and answers one message.
func (m method) Unary() bool { return m.Stream == "" }

// Server says that a method answers one message with many. Of other streams both
// sides may send; nobody knows of some.
func (m method) Server() bool { return m.Stream == serverStream }

// message is a type with its fields.
type message struct {
	Name, Comment string
	Fields        []field
}

type field struct {
	Name, JSON, Type, Comment string
}

// language is what differs between the languages.
type language struct {
	// reserved are names that messages cannot have.
	reserved []string
	// method and field make names of an endpoint's or a field's.
	method, field func(name string) string
	// typ writes the type of a schema; named knows what messages are called.
	typ func(s *schema, named map[string]string) string
}

// build makes the model of a document in a language.
func build(d *document, operations []*operation, l language) model {
	m := model{Service: operations[0].Service}
	m.Package, m.Class = packageName(m.Service), pascal(m.Service)+"Client"
	named := d.name(operations, reserve(append(l.reserved, m.Class)...))
	methods := reserve("constructor")
	for _, o := range operations {
		handler, name, _ := strings.Cut(o.Endpoint, ".")
		wishes := []string{l.method(handler + "_" + name)}
		if strings.EqualFold(pascal(handler), pascal(m.Service)) {
			wishes = append([]string{l.method(name)}, wishes...)
		}
		m.Methods = append(m.Methods, method{
			Name: methods.take(wishes...), Service: o.Service, Endpoint: o.Endpoint, Stream: o.Stream,
			Request: l.typ(o.request(), named), Response: l.typ(o.response(), named),
		})
	}
	for _, key := range slices.Sorted(maps.Keys(named)) {
		m.Messages = append(m.Messages, d.message(key, named, l))
	}
	slices.SortFunc(m.Messages, func(a, b message) int { return strings.Compare(a.Name, b.Name) })
	return m
}

func (d *document) message(key string, named map[string]string, l language) message {
	s := d.Components.Schemas[key]
	out := message{Name: named[key], Comment: comment(s.Description)}
	taken := names{}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		f := s.Properties[name]
		present, _ := f.present()
		text := comment(f.Description)
		if text == "" && present != nil && len(present.Enum) > 0 {
			text = "One of " + comment(strings.Join(present.Enum, ", ")) + "."
		}
		out.Fields = append(out.Fields, field{Name: taken.take(l.field(name)), JSON: name, Type: l.typ(f, named), Comment: text})
	}
	return out
}

// comment keeps what a document says from ending a comment.
func comment(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "*/", "* /")
}

// name gives the messages that the operations use names: their own, longer ones
// where two would be the same.
func (d *document) name(operations []*operation, taken names) map[string]string {
	used := map[string]bool{}
	for _, o := range operations {
		d.reach(o.request(), used)
		d.reach(o.response(), used)
	}
	named := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(used)) {
		short := key[strings.LastIndex(key, ".")+1:]
		if title := d.Components.Schemas[key].Title; title != "" {
			short = title
		}
		named[key] = taken.take(pascal(short), pascal(key), pascal(key)+"Message")
	}
	return named
}

// reach notes the messages that a schema leads to. Messages may hold themselves.
func (d *document) reach(s *schema, used map[string]bool) {
	if s == nil {
		return
	}
	if key := s.refer(); key != "" {
		if target := d.Components.Schemas[key]; target != nil && !used[key] {
			used[key] = true
			d.reach(target, used)
		}
		return
	}
	for _, x := range s.AnyOf {
		d.reach(x, used)
	}
	for _, x := range s.Properties {
		d.reach(x, used)
	}
	d.reach(s.Items, used)
	d.reach(s.AdditionalProperties, used)
}
