package gateway

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
)

// The descriptions are generated, one for each proto.
//
//go:embed rest/*/*.swagger.json
var descriptions embed.FS

// openAPI joins the descriptions of the APIs into one document.
func openAPI() ([]byte, error) {
	files, err := fs.Glob(descriptions, "rest/*/*.swagger.json")
	if err != nil {
		return nil, err
	}
	paths, definitions, tags := map[string]json.RawMessage{}, map[string]json.RawMessage{}, []json.RawMessage{}
	for _, file := range files {
		b, err := descriptions.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var d struct {
			Paths       map[string]json.RawMessage `json:"paths"`
			Definitions map[string]json.RawMessage `json:"definitions"`
			Tags        []json.RawMessage          `json:"tags"`
		}
		if err := json.Unmarshal(b, &d); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for path, operations := range d.Paths {
			paths[path] = operations
		}
		for name, definition := range d.Definitions {
			definitions[name] = definition
		}
		tags = append(tags, d.Tags...)
	}
	paths[uploadPath+"{service}"] = json.RawMessage(uploadDescription)
	paths[exportPath] = json.RawMessage(exportDescription)
	return encode(map[string]any{
		"swagger":  "2.0",
		"info":     map[string]string{"title": "Micro", "version": "v1", "description": "The platform's API. Streams are an object on each line, or server-sent events for Accept: text/event-stream."},
		"consumes": []string{"application/json"},
		"produces": []string{"application/json"},
		"securityDefinitions": map[string]any{"token": map[string]string{
			"type": "apiKey", "name": "Authorization", "in": "header", "description": "Bearer, a blank and the access token"}},
		"security": []any{map[string]any{"token": []string{}}},
		"tags":     tags, "paths": paths, "definitions": definitions,
	}), nil
}
