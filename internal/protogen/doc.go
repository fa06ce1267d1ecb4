// Package protogen writes the Go code of .proto files without protoc: messages
// by the generator of google.golang.org/protobuf, clients and handlers for the
// framework by its own. It is what `micro gen` runs.
package protogen
