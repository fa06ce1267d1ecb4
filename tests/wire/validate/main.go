// Validate reads an OpenAPI 3.1 document from standard input and says what is
// wrong with it, examples included. Its arguments are answers that a service
// has given, each OPERATION=JSON, which have to fit the document.
//
// It is a module of its own so that its library is no burden to anybody else.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

func main() {
	if err := validate(os.Stdin, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func validate(in io.Reader, answers []string) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return err
	}
	if !doc.IsOpenAPI31OrLater() {
		return fmt.Errorf("the document is OpenAPI %s", doc.OpenAPI)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return err
	}
	for _, a := range answers {
		operation, answer, _ := strings.Cut(a, "=")
		if err := fits(doc, operation, answer); err != nil {
			return fmt.Errorf("%s: %w", operation, err)
		}
	}
	return nil
}

// fits checks an answer against what its operation says.
func fits(doc *openapi3.T, operation, answer string) error {
	var v any
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		return err
	}
	for _, path := range doc.Paths.Map() {
		if path.Post != nil && path.Post.OperationID == operation {
			schema := path.Post.Responses.Value("200").Value.Content["application/json"].Schema.Value
			return schema.VisitJSON(v, openapi3.EnableJSONSchema2020())
		}
	}
	return fmt.Errorf("no such operation")
}
