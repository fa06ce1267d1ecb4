package clientgen

import (
	"bytes"
	_ "embed"
	"fmt"
	"go/format"
	"strings"
	"text/template"
)

//go:embed templates/client.go.tmpl
var goTemplate string

// Go writes the client of a service for Go, and answers the name of its package.
func Go(text []byte) (source []byte, name string, err error) {
	d, operations, err := parse(text)
	if err != nil {
		return nil, "", err
	}
	m := build(d, operations, language{
		reserved: []string{"Client", "New"}, method: pascal, field: pascal, typ: goType,
	})
	for _, x := range m.Messages {
		for _, f := range x.Fields {
			m.Time = m.Time || strings.Contains(f.Type, "time.Time")
		}
	}
	source, err = render("client.go", goTemplate, m)
	if err != nil {
		return nil, "", err
	}
	formatted, err := format.Source(source)
	if err != nil {
		return nil, "", fmt.Errorf("format the client: %w", err)
	}
	return formatted, m.Package, nil
}

func render(name, text string, m model) ([]byte, error) {
	t, err := template.New(name).Parse(text)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, m); err != nil {
		return nil, fmt.Errorf("write the client: %w", err)
	}
	return b.Bytes(), nil
}

// goType is the type of a field. Messages are pointers, as absent ones are null.
func goType(s *schema, named map[string]string) string {
	s, nullable := s.present()
	if s == nil {
		return "any"
	}
	if name := named[s.refer()]; name != "" {
		return "*" + name
	}
	typ := goBasic(s)
	switch {
	case typ == "" && s.Type == "array":
		return "[]" + goType(s.Items, named)
	case typ == "" && s.Type == "object" && s.AdditionalProperties != nil:
		return "map[string]" + goType(s.AdditionalProperties, named)
	case typ == "" && s.Type == "object":
		return "map[string]any"
	case typ == "":
		return "any"
	case nullable && !strings.HasPrefix(typ, "*"):
		return "*" + typ
	}
	return typ
}

// goBasic is the type of what is neither message nor list nor map, or "".
func goBasic(s *schema) string {
	switch {
	case s.Type == "boolean":
		return "bool"
	case s.Type == "integer" && s.Format == "uint32":
		return "uint32"
	case s.Type == "integer":
		return "int32"
	case s.Type == "number" && s.Format == "float":
		return "float32"
	case s.Type == "number":
		return "float64"
	case s.Type != "string":
		return ""
	case s.Format == "int64":
		return "client.Int64"
	case s.Format == "uint64":
		return "client.Uint64"
	case s.Format == "date-time":
		return "*time.Time"
	case s.ContentEncoding == "base64":
		return "[]byte"
	}
	return "string"
}
