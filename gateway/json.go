package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"runtime"
	"unicode/utf8"

	"github.com/micro/platform/framework/errors"
)

// What a JSON body may have. More than that is meant to hurt.
const (
	maxDepth = 64
	maxKeys  = 10_000
	maxItems = 1_000_000 // of arrays
)

// parsing is for bodies over large: one takes some five times its length to be
// parsed, and a processor.
var parsing = make(chan struct{}, runtime.GOMAXPROCS(0))

const large = 1 << 20

// parseObject reads a body that must be one JSON object. Numbers keep their
// digits.
func parseObject(body []byte) (map[string]any, error) {
	if len(body) > large {
		parsing <- struct{}{} // the others are at work
		defer func() { <-parsing }()
	}
	if !utf8.Valid(body) {
		return nil, badRequest("invalid JSON: the body is not UTF-8")
	}
	p := parser{dec: json.NewDecoder(bytes.NewReader(body))}
	p.dec.UseNumber()
	v, err := p.value(0)
	if err != nil {
		return nil, syntax(body, err)
	}
	end := p.dec.InputOffset()
	if _, err := p.dec.Token(); err != io.EOF {
		return nil, badRequest("invalid JSON at byte %d: there is more after the first value", end+1)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, badRequest("the body must be a JSON object, got %s", kindOf(v))
	}
	return object, nil
}

// syntax says where JSON is wrong. Decoders that go token by token do not tell.
func syntax(body []byte, err error) error {
	var decided *errors.Error
	if errors.As(err, &decided) {
		return err
	}
	var v any
	whole := json.Unmarshal(body, &v)
	var s *json.SyntaxError
	if errors.As(whole, &s) {
		return badRequest("invalid JSON at byte %d: %s", s.Offset, s.Error())
	}
	return badRequest("invalid JSON: %v", err)
}

type parser struct {
	dec   *json.Decoder
	keys  int
	items int
}

func (p *parser) value(depth int) (any, error) {
	t, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	d, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth++; depth > maxDepth {
		return nil, badRequest("invalid JSON at byte %d: deeper than %d levels", p.dec.InputOffset(), maxDepth)
	}
	if d == '{' {
		return p.object(depth)
	}
	return p.array(depth)
}

func (p *parser) object(depth int) (any, error) {
	out := map[string]any{}
	for p.dec.More() {
		t, err := p.dec.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, io.ErrUnexpectedEOF
		}
		if _, twice := out[key]; twice {
			return nil, badRequest("invalid JSON at byte %d: key %q stands there twice", p.dec.InputOffset(), errors.Clip(key))
		}
		if p.keys++; p.keys > maxKeys {
			return nil, badRequest("invalid JSON: more than %d keys", maxKeys)
		}
		if out[key], err = p.value(depth); err != nil {
			return nil, err
		}
	}
	_, err := p.dec.Token()
	return out, err
}

func (p *parser) array(depth int) (any, error) {
	out := []any{}
	for p.dec.More() {
		if p.items++; p.items > maxItems {
			return nil, badRequest("invalid JSON: more than %d items in arrays", maxItems)
		}
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err := p.dec.Token()
	return out, err
}

// kindOf names a JSON value for a person.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case []any:
		return "an array"
	default:
		return "an object"
	}
}
