package openapi

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	registrypb "github.com/micro/platform/proto/registry"
)

// Service is what a document is written from.
type Service struct {
	Name, Version string
	// Server is where the service is called: "https://api.example.com".
	Server string
	// Endpoints are what the service registered.
	Endpoints []Endpoint
	// Handlers describe what is known better than by the registry.
	Handlers []protoreflect.ServiceDescriptor
}

// Endpoint is an endpoint of a service.
type Endpoint struct {
	*registrypb.Endpoint
	// Public says that it may be called without a token.
	Public bool
}

// Document is an OpenAPI document.
type Document struct {
	OpenAPI    string              `json:"openapi"`
	Info       info                `json:"info"`
	Servers    []server            `json:"servers"`
	Security   []map[string][]any  `json:"security"`
	Tags       []tag               `json:"tags,omitempty"`
	Paths      map[string]pathItem `json:"paths"`
	Components components          `json:"components"`
}

type info struct {
	Title       string `json:"title"`
	Version     string `json:"version"`
	Description string `json:"description"`
}

type server struct {
	URL string `json:"url"`
}

type tag struct {
	Name string `json:"name"`
}

type pathItem struct {
	Parameters []reference `json:"parameters"`
	Post       *operation  `json:"post"`
}

type reference struct {
	Ref string `json:"$ref"`
}

type operation struct {
	OperationID string             `json:"operationId"`
	Summary     string             `json:"summary,omitempty"`
	Description string             `json:"description,omitempty"`
	Tags        []string           `json:"tags"`
	Service     string             `json:"x-micro-service"`
	Endpoint    string             `json:"x-micro-endpoint"`
	Stream      string             `json:"x-micro-stream,omitempty"`
	Security    []map[string][]any `json:"security,omitempty"`
	RequestBody body               `json:"requestBody"`
	Responses   map[string]any     `json:"responses"`
}

type body struct {
	Description string           `json:"description,omitempty"`
	Content     map[string]media `json:"content"`
}

type media struct {
	Schema  *schema `json:"schema"`
	Example any     `json:"example,omitempty"`
}

type components struct {
	SecuritySchemes map[string]any     `json:"securitySchemes"`
	Parameters      map[string]any     `json:"parameters"`
	Responses       map[string]body    `json:"responses"`
	Schemas         map[string]*schema `json:"schemas"`
}

// The values of x-micro-stream. An endpoint without any is unary.
const (
	serverStream  = "server"
	clientStream  = "client"
	bidirectional = "bidirectional"
	unknownStream = "unknown"
)

// token is the security of a call with a token, and nobody of one without.
var (
	token  = map[string][]any{"token": {}}
	nobody = map[string][]any{}
)

const errorName = "micro.Error"

// New writes the document of a service.
func New(s Service) *Document {
	described := describe(s)
	schemas := newSchemas(described)
	d := &Document{
		OpenAPI: "3.1.0",
		Info: info{Title: s.Name, Version: s.Version, Description: "The endpoints of the service " + s.Name +
			", called with JSON by POST. Fields that a request leaves out have their defaults; 64-bit integers are strings in answers, and strings or numbers in requests."},
		Servers:  []server{{URL: s.Server}},
		Security: []map[string][]any{token},
		Paths:    map[string]pathItem{},
		Components: components{
			SecuritySchemes: map[string]any{"token": map[string]string{"type": "http", "scheme": "bearer", "description": "An access token or an API token"}},
			Parameters: map[string]any{"namespace": map[string]any{"name": "Micro-Namespace", "in": "header", "schema": &schema{Type: "string"},
				"description": "The namespace of the service, for calls without a token. A token has its own."}},
			Responses: map[string]body{"error": {Description: "An error, by the platform or by the service. code is the HTTP status.",
				Content: map[string]media{"application/json": {Schema: &schema{Ref: schemaPath + errorName},
					Example: map[string]any{"id": s.Name, "code": 404, "detail": "no such note", "status": "Not Found"}}}}},
		},
	}
	for _, m := range described {
		if !slices.Contains(d.Tags, tag{m.handler}) {
			d.Tags = append(d.Tags, tag{m.handler})
		}
		d.Paths[path(s.Name, m)] = pathItem{Parameters: []reference{{"#/components/parameters/namespace"}}, Post: schemas.operation(s.Name, m)}
	}
	d.Components.Schemas = schemas.named
	d.Components.Schemas[errorName] = errorSchema()
	return d
}

// method is an endpoint with what is known of it.
type method struct {
	Endpoint
	handler, name string
	descriptor    protoreflect.MethodDescriptor // nil when only the registry knows it
}

// callable is what the name of an endpoint looks like that a path can name.
var callable = regexp.MustCompile(`^[A-Z][A-Za-z0-9_]*\.[A-Z][A-Za-z0-9_]*$`)

// describe finds the descriptors of the endpoints that people call, in the
// order of their names.
func describe(s Service) []method {
	descriptors := map[string]protoreflect.MethodDescriptor{}
	for _, h := range s.Handlers {
		for i := range h.Methods().Len() {
			m := h.Methods().Get(i)
			descriptors[string(h.Name())+"."+string(m.Name())] = m
		}
	}
	byName := map[string]method{}
	for _, e := range s.Endpoints {
		handler, name, _ := strings.Cut(e.GetName(), ".")
		if callable.MatchString(e.GetName()) && e.GetMetadata()["subscriber"] != "true" {
			byName[e.GetName()] = method{Endpoint: e, handler: handler, name: name, descriptor: descriptors[e.GetName()]}
		}
	}
	all := make([]method, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name])
	}
	return all
}

func path(service string, m method) string {
	return "/" + strings.ReplaceAll(service, ".", "/") + "/" + m.handler + "/" + m.name
}

// stream says how a method streams; "" is not at all.
func (m method) stream() string {
	switch d := m.descriptor; {
	case d == nil && m.GetMetadata()["stream"] == "true":
		return unknownStream
	case d == nil:
		return ""
	case d.IsStreamingClient() && d.IsStreamingServer():
		return bidirectional
	case d.IsStreamingClient():
		return clientStream
	case d.IsStreamingServer():
		return serverStream
	}
	return ""
}

const (
	streamText = "A stream: the answer is one JSON message after the other as they come, server-sent events for Accept: text/event-stream, " +
		"or frames of a WebSocket on the same path, which takes more than one request message. The schemas are of one message."
	unknownText = " The registry does not know the types of its messages."
)

func (s *schemas) operation(service string, m method) *operation {
	request, response := s.messages(m)
	o := &operation{
		OperationID: m.handler + "_" + m.name, Summary: m.handler + "." + m.name, Tags: []string{m.handler},
		Service: service, Endpoint: m.GetName(), Stream: m.stream(),
		RequestBody: body{Content: map[string]media{"application/json": {request, s.example(request)}}},
	}
	answer := body{Description: "The answer", Content: map[string]media{"application/json": {response, s.example(response)}}}
	if o.Stream != "" {
		o.Description = streamText
		answer.Description = "The messages of the stream"
		answer.Content["text/event-stream"] = media{Schema: &schema{Type: "string", Description: "An event for each message, its JSON in data. The last event is named end, or error and has an error."}}
	}
	if o.Stream == unknownStream {
		o.Description += unknownText
	}
	if m.Public {
		o.Security = []map[string][]any{token, nobody}
	}
	o.Responses = map[string]any{"200": answer, "default": reference{"#/components/responses/error"}}
	return o
}
