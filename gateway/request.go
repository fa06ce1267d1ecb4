package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	registrypb "github.com/micro/platform/proto/registry"
)

// accepted is what a body may be.
const accepted = "application/json, application/x-www-form-urlencoded or multipart/form-data"

// request answers the JSON object that a request means. message describes it,
// when the registry knows.
func (g *Gateway) request(r *http.Request, message *registrypb.Value) ([]byte, error) {
	switch r.Method {
	case http.MethodGet:
		object, err := queryObject(r, message)
		return encode(object), err
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return g.body(r, message)
	default:
		return []byte("{}"), nil
	}
}

func queryObject(r *http.Request, message *registrypb.Value) (map[string]any, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("invalid query: %v", err)
	}
	p, err := parseParameters(values)
	if err != nil {
		return nil, err
	}
	return p.request(message)
}

// body answers the body with the query merged in.
func (g *Gateway) body(r *http.Request, message *registrypb.Value) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, errors.NewHTTP(http.StatusUnsupportedMediaType, "content encoding %q is not supported: send the body as it is", errors.Clip(e)).From("go.micro.api")
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	switch kind {
	case "multipart/form-data":
		return g.multipart(r, params["boundary"], message)
	case "application/protobuf", "application/proto", "application/x-protobuf", "application/octet-stream", "application/grpc",
		"application/grpc+proto", "application/proto-rpc", "application/json-rpc":
		return nil, errors.NewHTTP(http.StatusUnsupportedMediaType, "content type %q is not supported: send %s", kind, accepted).From("go.micro.api")
	}
	body, err := g.read(r.Body)
	if err != nil {
		return nil, err
	}
	// curl -d says that it sends a form whatever it sends. No form's first
	// field has a name that starts so.
	if kind == "application/x-www-form-urlencoded" && !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return form(r, body, message)
	}
	object, err := queryObject(r, message)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return encode(object), nil
	}
	sent, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	if err := checkMessage(sent, message, ""); err != nil {
		return nil, err
	}
	if len(object) == 0 { // numbers and the order of keys stay
		var b bytes.Buffer
		b.Grow(len(body))
		if err := json.Compact(&b, body); err != nil {
			return nil, badRequest("invalid JSON: %v", err)
		}
		return b.Bytes(), nil
	}
	maps.Copy(object, sent)
	return encode(object), nil
}

// form answers the fields of a form and of the query, each as its type wants.
func form(r *http.Request, body []byte, message *registrypb.Value) ([]byte, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badRequest("invalid form: %v", err)
	}
	return fields(r, values, message)
}

// multipart answers the fields of a form; files are base64 of their content.
func (g *Gateway) multipart(r *http.Request, boundary string, message *registrypb.Value) ([]byte, error) {
	if boundary == "" {
		return nil, badRequest("multipart/form-data has no boundary")
	}
	reader, err := r.MultipartReader()
	if err != nil {
		return nil, badRequest("invalid form: %v", err)
	}
	values := url.Values{}
	for parts := 0; ; parts++ {
		part, err := reader.NextPart()
		if err == io.EOF {
			return fields(r, values, message)
		}
		if err != nil || parts >= maxKeys {
			return nil, g.unreadable(err, "invalid form")
		}
		content, err := g.read(part)
		if err != nil {
			return nil, err
		}
		if part.FileName() != "" {
			values.Add(part.FormName(), base64.StdEncoding.EncodeToString(content))
		} else {
			values.Add(part.FormName(), string(content))
		}
	}
}

// fields is a form's object. Fields whose type is not known stay strings.
func fields(r *http.Request, values url.Values, message *registrypb.Value) ([]byte, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("invalid query: %v", err)
	}
	for key, vs := range query {
		if _, sent := values[key]; !sent {
			values[key] = vs
		}
	}
	known, object := url.Values{}, map[string]any{}
	for key, vs := range values {
		top := strings.FieldsFunc(key, func(r rune) bool { return r == '.' || r == '[' })
		if len(top) > 0 && field(message, top[0]) != nil {
			known[key] = vs
		} else {
			object[key] = strings.Join(vs, ",")
		}
	}
	p, err := parseParameters(known)
	if err != nil {
		return nil, err
	}
	typed, err := p.request(message)
	if err != nil {
		return nil, err
	}
	maps.Copy(object, typed)
	return encode(object), nil
}

// read reads all that there is.
func (g *Gateway) read(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	err := g.firstQuarter(&b, r)
	if err == nil {
		_, err = b.ReadFrom(r)
	}
	if err != nil {
		return nil, g.unreadable(err, "the body could not be read")
	}
	return b.Bytes(), nil
}

// firstQuarter reads the first quarter of a large body that fits the limit, and takes
// the memory for the others at once: a buffer that grows takes three times as much,
// and a body for which there is no room is refused before it has come. Who sends
// nothing takes nothing from others.
func (g *Gateway) firstQuarter(b *bytes.Buffer, r io.Reader) error {
	t, is := r.(*taking)
	if !is || t.length <= large || int64(t.length) > g.opts.BodyLimit {
		return nil
	}
	if _, err := io.CopyN(b, t, int64(t.length/4)); err != nil && err != io.EOF {
		return err
	}
	if err := t.rest(); err != nil {
		return err
	}
	b.Grow(t.length - b.Len() + bytes.MinRead)
	return nil
}

// unreadable says why a body did not come through.
func (g *Gateway) unreadable(err error, what string) error {
	var large *http.MaxBytesError
	var decided *errors.Error
	switch {
	case errors.As(err, &decided):
		return err
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New(codes.DeadlineExceeded, "the body did not come within %v", bodyTimeout).From("go.micro.api")
	}
	return badRequest("%s: %v", what, err)
}
