// Package openapi writes the OpenAPI 3.1 document of a deployed service: from
// its descriptors where the service tells them, else from the endpoints that it
// registered. It is pure; docs/openapi.md says what a document looks like.
package openapi
