package gateway_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	runtimepb "github.com/micro/platform/proto/runtime"
	"github.com/micro/platform/proxy/edge/edgetest"
)

// runtime is what the REST API streams from and to.
type runtime struct {
	runtimepb.UnimplementedRuntimeServer
	runtimepb.UnimplementedSourceServer
}

// Logs sends as many lines as were asked for; a negative count is an error
// after two, and none at once.
func (runtime) Logs(r *runtimepb.LogsRequest, s grpc.ServerStreamingServer[runtimepb.LogRecord]) error {
	if _, err := identity.Require(s.Context()); err != nil {
		return err
	}
	if r.GetCount() == 0 {
		return errors.New(codes.NotFound, "no logs of %s", r.GetService())
	}
	for i := range max(r.GetCount(), 2) {
		if err := s.Send(&runtimepb.LogRecord{Timestamp: i, Message: fmt.Sprintf("<line %d>", i)}); err != nil {
			return err
		}
	}
	if r.GetCount() < 0 {
		return errors.New(codes.Unavailable, "gone")
	}
	return nil
}

// Upload answers the name and the size of what it got.
func (runtime) Upload(s grpc.ClientStreamingServer[runtimepb.UploadRequest, runtimepb.UploadResponse]) error {
	id, n := "", 0
	for {
		r, err := s.Recv()
		if err == io.EOF {
			return s.SendAndClose(&runtimepb.UploadResponse{Id: fmt.Sprintf("%s %d", id, n)})
		}
		if err != nil {
			return err
		}
		if svc := r.GetService(); svc != nil {
			id += svc.GetName() + ":" + svc.GetVersion()
		}
		n += len(r.GetData())
	}
}

func startWithRuntime(t *testing.T) *edge {
	t.Helper()
	return start(t, edgetest.Component("runtime", func(s grpc.ServiceRegistrar) {
		runtimepb.RegisterRuntimeServer(s, runtime{})
		runtimepb.RegisterSourceServer(s, runtime{})
	}))
}

// TestPlatformStream shows streams of the REST API in both forms, and errors
// before and after the first message.
func TestPlatformStream(t *testing.T) {
	t.Parallel()
	e := startWithRuntime(t)
	line := func(i int) string {
		return fmt.Sprintf(`{"result":{"timestamp":"%d","metadata":{},"message":"<line %d>"}}`, i, i)
	}
	for _, tt := range []struct {
		name, query, accept string
		status              int
		kind, want          string
	}{
		{"lines", "?count=2", "", 200, "application/x-ndjson", line(0) + "\n" + line(1) + "\n"},
		{"events", "?count=2", "text/event-stream", 200, "text/event-stream", "data: " + line(0) + "\n\ndata: " + line(1) + "\n\n"},
		{"error after", "?count=-1", "", 200, "application/x-ndjson", line(0) + "\n" + line(1) + "\n" +
			`{"error":{"id":"runtime.Runtime.Logs","code":503,"detail":"gone","status":"Service Unavailable"}}` + "\n"},
		{"error before", "", "", 404, "application/json", `{"id":"runtime.Runtime.Logs","code":404,"detail":"no logs of echo","status":"Not Found"}`},
		{"wrong parameter", "?count=x", "", 400, "application/json", `count`},
	} {
		status, header, body := e.do("GET", "/platform/v1/services/echo/logs"+tt.query, "", "Accept", tt.accept)
		if status != tt.status || header.Get("Content-Type") != tt.kind || body != tt.want && tt.status != 400 || !strings.Contains(body, tt.want) {
			t.Errorf("%s = %d %s\n%s\nwant %d %s\n%s", tt.name, status, header.Get("Content-Type"), body, tt.status, tt.kind, tt.want)
		}
	}
	if status, _, body := e.do("GET", "/platform/v1/services/echo/logs?count=1", "", "Authorization", ""); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d %s", status, body)
	}
}

// TestUpload shows that an archive arrives unpacked, whatever its size, and
// that a damaged or endless one does not.
func TestUpload(t *testing.T) {
	t.Parallel()
	e := startWithRuntime(t)
	packed := func(size int) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		chunk := make([]byte, 1<<20)
		for ; size > 0; size -= len(chunk) {
			_, _ = z.Write(chunk[:min(size, len(chunk))]) // into memory
		}
		z.Close()
		return b.String()
	}
	for _, tt := range []struct {
		name, path, body string
		status           int
		want             string
	}{
		{"plain", "notes", strings.Repeat("x", 200_000), 200, `{"id":"notes:latest 200000"}`},
		{"packed", "notes?version=v2", packed(300_000), 200, `{"id":"notes:v2 300000"}`},
		{"empty", "notes", "", 200, `{"id":"notes:latest 0"}`},
		{"damaged", "notes", packed(1000)[:20], 400, "the archive is damaged"},
		{"large", "notes", strings.Repeat("x", 51<<20), 413, "archive larger than 50 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, _, body := e.do("POST", "/platform/v1/sources/"+tt.path, tt.body, "Expect", "100-continue")
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%d %s, want %d %s", status, body, tt.status, tt.want)
			}
		})
	}
}

// TestDocumentIsServed shows that there is a handler for every route of the
// document that people write their clients from.
func TestDocumentIsServed(t *testing.T) {
	t.Parallel()
	e := start(t)
	_, _, text := e.do("GET", "/platform/v1/openapi.json", "")
	var document struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil || len(document.Paths) < 10 {
		t.Fatalf("%d paths, %v", len(document.Paths), err)
	}
	for path, methods := range document.Paths {
		for method := range methods {
			if method == "parameters" {
				continue
			}
			_, _, body := e.do(strings.ToUpper(method), strings.NewReplacer("{", "", "}", "").Replace(path), "{}")
			if strings.Contains(body, "in the platform's API") {
				t.Errorf("%s %s: %s", method, path, body)
			}
		}
	}
}
