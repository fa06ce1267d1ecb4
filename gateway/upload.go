package gateway

import (
	"bufio"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	runtimepb "github.com/micro/platform/proto/runtime"
)

const (
	uploadPath = "/platform/v1/sources/"
	// What a source may have, as sent and unpacked.
	maxUpload   = 50 << 20
	maxUnpacked = 500 << 20
	// chunk is how much of a source goes into a message.
	chunk = 64 << 10
)

// uploadDescription is the upload in the OpenAPI document: it has no proto.
const uploadDescription = `{"post": {
	"summary": "Upload the source of a service: a tar archive, compressed with gzip or not",
	"operationId": "Source_Upload", "tags": ["Source"],
	"consumes": ["application/x-tar", "application/gzip"],
	"parameters": [
		{"name": "service", "in": "path", "required": true, "type": "string"},
		{"name": "version", "in": "query", "type": "string", "description": "latest when it is not given"},
		{"name": "archive", "in": "body", "required": true, "schema": {"type": "string", "format": "binary"}}
	],
	"responses": {"200": {"description": "The source's id, for Runtime.Create", "schema": {"$ref": "#/definitions/runtimeUploadResponse"}}}
}}`

func isUpload(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, uploadPath) }

// upload streams an archive to the runtime.
func (g *Gateway) upload(source runtimepb.SourceClient) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := send(r.WithContext(metadata.NewOutgoingContext(r.Context(), requestMetadata(r))), w, source)
		if err != nil {
			writeError(w, restError(err))
			return
		}
		write(w, http.StatusOK, encode(map[string]string{"id": id}))
	})
}

func send(r *http.Request, w http.ResponseWriter, source runtimepb.SourceClient) (string, error) {
	if r.ContentLength > maxUpload {
		return "", damaged(&http.MaxBytesError{Limit: maxUpload})
	}
	archive, err := unpacked(http.MaxBytesReader(w, r.Body, maxUpload))
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	up, err := source.Upload(ctx)
	if err != nil {
		return "", err
	}
	version := r.URL.Query().Get("version")
	if version == "" {
		version = "latest"
	}
	first := &runtimepb.Service{Name: r.PathValue("service"), Version: version}
	buf := make([]byte, chunk)
	for {
		n, err := io.ReadFull(archive, buf)
		if n > 0 || first != nil {
			if up.Send(&runtimepb.UploadRequest{Service: first, Data: buf[:n]}) != nil {
				break // CloseAndRecv knows why
			}
			first = nil
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF && archive.Err() == nil {
			break
		}
		if err != nil {
			return "", damaged(err)
		}
	}
	rsp, err := up.CloseAndRecv()
	return rsp.GetId(), err
}

// unpacked reads an archive, through gzip if it begins like that.
func unpacked(r io.Reader) (*bounded, error) {
	b := bufio.NewReaderSize(r, chunk)
	magic, err := b.Peek(2)
	if err != nil && err != io.EOF {
		return nil, damaged(err)
	}
	if string(magic) != "\x1f\x8b" {
		return &bounded{r: b, left: maxUnpacked}, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, damaged(err)
	}
	return &bounded{r: z, left: maxUnpacked}, nil
}

// bounded reads until a limit, and remembers why it stopped before the end.
type bounded struct {
	r    io.Reader
	left int64
	err  error
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		err = errors.NewHTTP(http.StatusRequestEntityTooLarge, "archive expands beyond %d MiB", maxUnpacked>>20).From("platform")
	}
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// Err answers what ended the reading before its end.
func (b *bounded) Err() error { return b.err }

func damaged(err error) error {
	var large *http.MaxBytesError
	var decided *errors.Error
	switch {
	case errors.As(err, &decided):
		return err
	case errors.As(err, &large):
		return errors.NewHTTP(http.StatusRequestEntityTooLarge, "archive larger than %d MiB", maxUpload>>20).From("platform")
	}
	return badRequest("the archive is damaged: %v", err)
}
