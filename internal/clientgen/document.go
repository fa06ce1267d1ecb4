package clientgen

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// document is what is read of an OpenAPI document.
type document struct {
	OpenAPI string
	Info    struct{ Title string }
	Paths   map[string]struct {
		Post *operation
	}
	Components struct {
		Schemas map[string]*schema
	}
}

type operation struct {
	Service     string `json:"x-micro-service"`
	Endpoint    string `json:"x-micro-endpoint"`
	Stream      string `json:"x-micro-stream"`
	RequestBody body
	Responses   map[string]body
}

type body struct {
	Content map[string]struct{ Schema *schema }
}

type schema struct {
	Ref                  string `json:"$ref"`
	Title                string
	Description          string
	Type                 string
	Format               string
	ContentEncoding      string
	Enum                 []string
	AnyOf                []*schema
	Items                *schema
	Properties           map[string]*schema
	AdditionalProperties *schema
}

// The values of x-micro-stream: who sends more than one message.
const (
	serverStream  = "server"
	clientStream  = "client"
	bidirectional = "bidirectional"
	unknownStream = "unknown"
)

const schemaPath = "#/components/schemas/"

// endpointName is what the name of an endpoint looks like. What stands in a
// document goes into source code, so that nothing else is let in.
var endpointName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*\.[A-Za-z][A-Za-z0-9_]*$`)

// serviceName is what the name of a service looks like.
var serviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// fieldName is what the name of a field looks like.
var fieldName = regexp.MustCompile(`^[A-Za-z0-9_.$-]+$`)

// parse reads a document, and answers its operations in the order of their
// endpoints.
func parse(text []byte) (*document, []*operation, error) {
	d := &document{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, nil, fmt.Errorf("the OpenAPI document is damaged: %w", err)
	}
	if !strings.HasPrefix(d.OpenAPI, "3.") {
		return nil, nil, fmt.Errorf("the answer is not an OpenAPI 3 document")
	}
	var all []*operation
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		o := d.Paths[path].Post
		if o == nil || o.Endpoint == "" {
			continue
		}
		if err := d.check(path, o); err != nil {
			return nil, nil, err
		}
		all = append(all, o)
	}
	for key, s := range d.Components.Schemas {
		if s == nil {
			return nil, nil, fmt.Errorf("the OpenAPI document has no schema behind the name %q", key)
		}
		for name := range s.Properties {
			if !fieldName.MatchString(name) {
				return nil, nil, fmt.Errorf("the OpenAPI document has a field %q in schema %q: letters, digits and _ are possible", name, key)
			}
		}
	}
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("service %s has no endpoints that you may call", d.Info.Title)
	}
	slices.SortFunc(all, func(a, b *operation) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	return d, all, nil
}

func (d *document) check(path string, o *operation) error {
	if !endpointName.MatchString(o.Endpoint) {
		return fmt.Errorf("the OpenAPI document says x-micro-endpoint %q at %s: Handler.Method is possible", o.Endpoint, path)
	}
	if !serviceName.MatchString(o.Service) {
		return fmt.Errorf("the OpenAPI document says x-micro-service %q at %s: that is no name of a service", o.Service, path)
	}
	switch o.Stream {
	case "", serverStream, clientStream, bidirectional, unknownStream:
		return nil
	}
	return fmt.Errorf("the OpenAPI document says x-micro-stream %q at %s, which this micro does not know", o.Stream, path)
}

// request and response are the schemas of an operation's messages; nil is not
// known.
func (o *operation) request() *schema { return o.RequestBody.Content["application/json"].Schema }

func (o *operation) response() *schema {
	return o.Responses["200"].Content["application/json"].Schema
}

// refer answers the name of the schema that a reference means, or "".
func (s *schema) refer() string {
	if s == nil {
		return ""
	}
	name, _ := strings.CutPrefix(s.Ref, schemaPath)
	return name
}

// present is a schema without the null that says that it may be absent.
func (s *schema) present() (present *schema, nullable bool) {
	if s == nil || len(s.AnyOf) != 2 || s.AnyOf[1] == nil || s.AnyOf[1].Type != "null" || s.AnyOf[0] == nil {
		return s, false
	}
	return s.AnyOf[0], true
}
