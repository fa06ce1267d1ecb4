package openapi

import (
	"maps"
	"slices"
	"strings"
)

// What an example has: levels of messages, and values in all of them. Messages
// may hold each other many times over.
const (
	maxLevels = 3
	maxValues = 200
)

// example makes up a message of a schema.
func (s *schemas) example(x *schema) any {
	e := exampler{named: s.named, inside: map[string]bool{}, left: maxValues}
	return e.value(x, 0)
}

type exampler struct {
	named  map[string]*schema
	inside map[string]bool // the messages that it is at
	left   int
}

func (e *exampler) value(x *schema, depth int) any {
	e.left--
	if name, ok := strings.CutPrefix(x.Ref, schemaPath); ok {
		if e.inside[name] { // once is enough of a message that holds itself
			return map[string]any{}
		}
		e.inside[name] = true
		defer delete(e.inside, name)
		x = e.named[name]
	}
	switch {
	case len(x.AnyOf) > 0:
		if depth > maxLevels || e.inside[strings.TrimPrefix(x.AnyOf[0].Ref, schemaPath)] {
			return nil
		}
		return e.value(x.AnyOf[0], depth)
	case len(x.Enum) > 0:
		return x.Enum[0]
	}
	switch x.Type {
	case "string":
		return text(x)
	case "boolean":
		return true
	case "integer", "number":
		return 1
	case "array":
		if depth > maxLevels || x.Items.anything() {
			return []any{}
		}
		return []any{e.value(x.Items, depth+1)}
	case "object":
		return e.object(x, depth)
	}
	return nil
}

func (e *exampler) object(x *schema, depth int) any {
	out := map[string]any{}
	if depth > maxLevels {
		return out
	}
	chosen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(x.Properties)) {
		if e.left <= 0 {
			return out
		}
		f := x.Properties[name]
		if f.anything() || f.choice != "" && chosen[f.choice] {
			continue
		}
		chosen[f.choice] = true
		out[name] = e.value(f, depth+1)
	}
	if x.AdditionalProperties != nil && !x.AdditionalProperties.anything() {
		out["key"] = e.value(x.AdditionalProperties, depth+1)
	}
	return out
}

func text(x *schema) string {
	switch {
	case x.Format == "int64" || x.Format == "uint64":
		return "1"
	case x.Format == "date-time":
		return "2026-01-02T15:04:05Z"
	case x.Format == "duration":
		return "1.5s"
	case x.ContentEncoding == "base64":
		return "aGVsbG8="
	}
	return "text"
}

// anything says that nothing is known of a value.
func (x *schema) anything() bool { return x.Ref == "" && x.Type == "" && len(x.AnyOf) == 0 }
