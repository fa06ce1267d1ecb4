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
	e := exampler{s.named, maxValues}
	return e.value(x, 0)
}

type exampler struct {
	named map[string]*schema
	left  int
}

func (e *exampler) value(x *schema, depth int) any {
	e.left--
	if name, ok := strings.CutPrefix(x.Ref, schemaPath); ok {
		x = e.named[name]
	}
	switch {
	case len(x.AnyOf) > 0:
		if depth > maxLevels {
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
		if depth > maxLevels {
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
	for _, name := range slices.Sorted(maps.Keys(x.Properties)) {
		if e.left <= 0 {
			return out
		}
		f := x.Properties[name]
		out[name] = e.value(f, depth+1)
	}
	if x.AdditionalProperties != nil {
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
