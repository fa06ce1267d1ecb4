// Package clientgen writes clients of a service, in Go and in TypeScript, from
// its OpenAPI document (docs/openapi.md).
package clientgen
