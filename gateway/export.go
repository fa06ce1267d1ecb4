package gateway

import (
	"io"
	"net/http"

	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/internal/rpc"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

const exportPath = "/platform/v1/namespaces/{namespace}/export"

// exportDescription is the download in the OpenAPI document: it is no JSON.
const exportDescription = `{"get": {
	"summary": "Download the archive of a namespace, without its secrets",
	"operationId": "Archives_Export", "tags": ["Archives"],
	"produces": ["application/gzip"],
	"parameters": [{"name": "namespace", "in": "path", "required": true, "type": "string"}],
	"responses": {"200": {"description": "A tar through gzip. Without a manifest.json at its end it was cut off.", "schema": {"type": "string", "format": "binary"}}}
}, "post": {
	"summary": "Download the archive of a namespace, with its secrets sealed by a passphrase",
	"operationId": "Archives_ExportSealed", "tags": ["Archives"],
	"produces": ["application/gzip"],
	"parameters": [
		{"name": "namespace", "in": "path", "required": true, "type": "string"},
		{"name": "body", "in": "body", "required": true, "schema": {"type": "object", "properties": {"passphrase": {"type": "string", "description": "12 to 256 bytes"}}}}
	],
	"responses": {"200": {"description": "A tar through gzip. Without a manifest.json at its end it was cut off.", "schema": {"type": "string", "format": "binary"}}}
}}`

// export streams the archive of a namespace.
func (g *Gateway) export(archives namespacespb.ArchivesClient) http.Handler {
	return g.checked(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := &namespacespb.ExportRequest{}
		body, err := io.ReadAll(r.Body) // it was checked
		if err == nil && len(body) > 0 {
			err = rpc.JSONIn.Unmarshal(body, req)
		}
		if err != nil {
			writeError(w, badRequest("%v", err))
			return
		}
		req.Namespace = r.PathValue("namespace")
		if err := download(w, r, archives, req); err != nil {
			writeError(w, restError(err))
		}
	}))
}

// download copies an export. An error is one that comes before the answer has
// begun; after that the connection is cut, so that nobody takes a part for all.
func download(w http.ResponseWriter, r *http.Request, archives namespacespb.ArchivesClient, req *namespacespb.ExportRequest) error {
	ctx := metadata.NewOutgoingContext(r.Context(), requestMetadata(r))
	stream, err := archives.Export(ctx, req)
	if err != nil {
		return err
	}
	begun := false
	for {
		m, err := stream.Recv()
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !begun:
			return err
		case err != nil:
			panic(http.ErrAbortHandler)
		}
		if !begun {
			begun = true
			h := w.Header()
			h.Set("Content-Type", "application/gzip")
			h.Set("Content-Disposition", `attachment; filename="`+req.GetNamespace()+`.tar.gz"`)
			h.Set("Cache-Control", "no-store")
		}
		if _, err := w.Write(m.GetData()); err != nil {
			return nil // the client is gone
		}
	}
}
