package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/modproxy"
	"github.com/micro/platform/internal/rpc"
	namespacespb "github.com/micro/platform/proto/namespaces"
	runtimepb "github.com/micro/platform/proto/runtime"
	"github.com/micro/platform/proxy/edge"
)

// modulesPath is where Go finds the framework's module.
const modulesPath = "/platform/v1/modules"

// platform makes the handler of /platform/v1/.
func (g *Gateway) platform() (http.Handler, error) {
	none := func(string) (string, bool) { return "", false }
	api := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, lines{}),
		runtime.WithMarshalerOption("text/event-stream", serverSent{}),
		runtime.WithMetadata(func(_ context.Context, r *http.Request) metadata.MD {
			md := requestMetadata(r)
			delete(md, "authorization") // it is there already
			return md
		}),
		runtime.WithIncomingHeaderMatcher(none),
		runtime.WithOutgoingHeaderMatcher(none),
		runtime.WithOutgoingTrailerMatcher(none),
		runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
			writeError(w, restError(err))
		}),
		runtime.WithRoutingErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, status int) {
			writeError(w, errors.NewHTTP(status, "no %s %s in the platform's API: /platform/v1/openapi.json lists what there is", r.Method, errors.Clip(r.URL.Path)).From("platform"))
		}),
	)
	client := edge.Client{Edge: g.edge, Origin: originOf, Later: later}
	if err := routes(context.Background(), api, client); err != nil {
		return nil, fmt.Errorf("register the REST API: %w", err)
	}
	document, err := openAPI()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /platform/v1/health", func(w http.ResponseWriter, _ *http.Request) {
		if g.leaving.Load() {
			writeError(w, errors.New(codes.Unavailable, "this edge stops, connect to another"))
			return
		}
		if err := g.edge.Closed(); err != nil {
			writeError(w, err)
			return
		}
		write(w, http.StatusOK, encode(map[string]string{"status": "ok", "version": buildVersion()}))
	})
	mux.HandleFunc("GET /platform/v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, document) })
	mux.Handle("POST "+uploadPath+"{service}", g.upload(runtimepb.NewSourceClient(client)))
	export := g.export(namespacespb.NewArchivesClient(client))
	mux.Handle("GET "+exportPath, export)
	mux.Handle("POST "+exportPath, export)
	framework, err := modproxy.New()
	if err != nil {
		return nil, err
	}
	mux.Handle("GET "+modulesPath+"/", http.StripPrefix(modulesPath, framework))
	mux.Handle("/", g.checked(api))
	return mux, nil
}

// checked reads a body as a whole, so that one that is too large or no JSON is
// refused in our words. Who sends it is known before.
func (g *Gateway) checked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := g.platformBody(w, r)
		if err == nil && len(bytes.TrimSpace(body)) > 0 {
			_, err = parseObject(body)
		}
		if err != nil {
			writeError(w, err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// platformBody is the body of a request to the platform. Of callers without an
// account it is small.
func (g *Gateway) platformBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	caller, refusal := g.edge.Identify(r.Context(), edge.Request{Metadata: requestMetadata(r), Origin: originOf(r.Context())})
	if caller != nil {
		held(r, func(n int) (func(), error) { return g.edge.Buffer(caller.Namespace, false, n) })
		return g.read(r.Body)
	}
	body, err := g.read(http.MaxBytesReader(w, r.Body, small))
	if err != nil && refusal != nil { // what is wrong is the token
		return nil, refusal
	}
	return body, err
}

// lines is the JSON of the contract, streams as an object on each line.
type lines struct{}

// Marshal implements runtime.Marshaler. Streams hand it maps.
func (lines) Marshal(v any) ([]byte, error) {
	switch m := v.(type) {
	case proto.Message:
		return compact(m)
	case map[string]any: // "result"
		out := make(map[string]json.RawMessage, len(m))
		for k, v := range m {
			b, err := lines{}.Marshal(v)
			if err != nil {
				return nil, err
			}
			out[k] = b
		}
		return encode(out), nil
	case map[string]proto.Message: // "error", after a stream has begun
		out := make(map[string]any, len(m))
		for k, v := range m {
			if s, ok := v.(interface{ GetMessage() string }); ok {
				out[k] = errors.Parse(s.GetMessage())
			}
		}
		return encode(out), nil
	default:
		return encode(v), nil
	}
}

// compact is a message's JSON without the blanks that protojson varies.
func compact(m proto.Message) ([]byte, error) {
	b, err := rpc.JSONOut.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Compact(&out, b)
	return out.Bytes(), err
}

// Unmarshal implements runtime.Marshaler.
func (lines) Unmarshal(b []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return json.Unmarshal(b, v)
	}
	return rpc.JSONIn.Unmarshal(b, m)
}

// NewDecoder implements runtime.Marshaler. An empty body is io.EOF.
func (l lines) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(b)) == 0 {
			return io.EOF
		}
		return l.Unmarshal(b, v)
	})
}

// NewEncoder implements runtime.Marshaler.
func (l lines) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		b, err := l.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
}

// ContentType implements runtime.Marshaler.
func (lines) ContentType(any) string { return "application/json" }

// StreamContentType implements runtime.StreamContentType.
func (lines) StreamContentType(any) string { return "application/x-ndjson" }

// serverSent is the same as server-sent events, for browsers.
type serverSent struct{ lines }

// Marshal implements runtime.Marshaler.
func (s serverSent) Marshal(v any) ([]byte, error) {
	b, err := s.lines.Marshal(v)
	return append([]byte("data: "), b...), err
}

// Delimiter implements runtime.Delimited.
func (serverSent) Delimiter() []byte { return []byte("\n\n") }

// ContentType implements runtime.Marshaler.
func (serverSent) ContentType(any) string { return "text/event-stream" }

// StreamContentType implements runtime.StreamContentType.
func (serverSent) StreamContentType(any) string { return "text/event-stream" }

var _ interface {
	runtime.Marshaler
	runtime.StreamContentType
	runtime.Delimited
} = serverSent{}
