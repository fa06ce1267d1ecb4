package clientgen

import (
	_ "embed"
	"encoding/json"
	"regexp"
	"strings"
)

//go:embed templates/client.ts.tmpl
var tsTemplate string

// tsReserved are types that a message would hide, and words that name no type.
var tsReserved = []string{
	"Array", "AsyncIterable", "CallOptions", "Client", "Input", "Object", "Pick", "Promise", "Record", "Stream", "Symbol",
}

// TypeScript writes the client of a service for TypeScript.
func TypeScript(text []byte) ([]byte, error) {
	d, operations, err := parse(text)
	if err != nil {
		return nil, err
	}
	m := build(d, operations, language{reserved: tsReserved, method: camel, field: property, typ: tsType})
	return render("client.ts", tsTemplate, m)
}

var identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// property is a field's name, which need not be an identifier.
func property(name string) string {
	if identifier.MatchString(name) {
		return name
	}
	return quote(name)
}

func quote(text string) string {
	b, err := json.Marshal(text)
	if err != nil { // a string can always be written
		panic(err)
	}
	return string(b)
}

// tsType is the type of a field. 64-bit integers are strings: numbers would
// lose digits.
func tsType(s *schema, named map[string]string) string {
	s, nullable := s.present()
	typ := tsPresent(s, named)
	if nullable {
		return typ + " | null"
	}
	return typ
}

func tsPresent(s *schema, named map[string]string) string {
	if s == nil {
		return "unknown"
	}
	if name := named[s.refer()]; name != "" {
		return name
	}
	switch {
	case len(s.Enum) > 0:
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = quote(v)
		}
		return strings.Join(values, " | ")
	case s.Type == "array":
		return "Array<" + tsType(s.Items, named) + ">"
	case s.Type == "object" && s.AdditionalProperties != nil:
		return "Record<string, " + tsType(s.AdditionalProperties, named) + ">"
	case s.Type == "object":
		return "Record<string, unknown>"
	case s.Type == "integer", s.Type == "number":
		return "number"
	case s.Type == "string", s.Type == "boolean", s.Type == "null":
		return s.Type
	}
	return "unknown"
}
