package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// Bounds of a document. What one namespace may have is in Options.
const (
	maxPath   = 1 << 10 // bytes
	maxKey    = 256     // bytes
	maxLevels = 64      // of keys and arrays in each other
)

func invalid(format string, args ...any) *errors.Error {
	return errors.New(codes.InvalidArgument, format, args...)
}

// parsePath takes a dotted path apart. The empty one is the whole document.
func parsePath(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	if len(path) > maxPath {
		return nil, invalid("path is %d bytes long, at most %d are allowed", len(path), maxPath)
	}
	keys := strings.Split(path, ".")
	if len(keys) > maxLevels {
		return nil, invalid("path has %d levels, at most %d are allowed", len(keys), maxLevels)
	}
	for _, k := range keys {
		if k == "" {
			return nil, invalid("path %q has an empty key: write keys joined by single dots, as in a.b.c", errors.Clip(path))
		}
		if err := checkKey(k); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func checkKey(key string) error {
	switch {
	case key == "":
		return invalid("the value has an empty key")
	case len(key) > maxKey:
		return invalid("key %q is %d bytes long, at most %d are allowed", errors.Clip(key), len(key), maxKey)
	case !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl):
		return invalid("key %q has control characters or is not UTF-8", errors.Clip(key))
	case strings.Contains(key, "."):
		return invalid("key %q of the value has a dot, which joins keys in a path: write an object in an object", errors.Clip(key))
	}
	return nil
}

// parseValue reads what a Set sends. levels are those of its path.
func parseValue(data string, levels int) (any, error) {
	var raw json.RawMessage
	if err := json.Unmarshal([]byte(data), &raw); err != nil {
		return nil, invalidJSON(err)
	}
	d := decoder{json.NewDecoder(strings.NewReader(data))}
	d.UseNumber()
	return d.value(levels, true)
}

func invalidJSON(err error) error { return invalid("Request is invalid JSON: %v", err) }

// decode reads JSON that was checked when it was stored.
func decode(data []byte) (any, error) {
	d := decoder{json.NewDecoder(bytes.NewReader(data))}
	d.UseNumber()
	v, err := d.value(0, true)
	if err != nil {
		return nil, fmt.Errorf("decode document: %w", err)
	}
	return v, nil
}

// decoder reads JSON as a tree, and refuses what encoding/json lets pass: a key
// twice, and nesting without end. Numbers stay text, so that none changes.
type decoder struct{ *json.Decoder }

// value reads one value at a level. Objects are nodes of the document, but for
// those in an array.
func (d decoder) value(level int, node bool) (any, error) {
	if level > maxLevels {
		return nil, invalid("the value is nested too deep: with its path it may have %d levels", maxLevels)
	}
	t, err := d.Token()
	if err != nil {
		return nil, invalidJSON(err)
	}
	switch t {
	case json.Delim('{'):
		return d.object(level, node)
	case json.Delim('['):
		return d.array(level)
	default:
		return t, nil
	}
}

func (d decoder) object(level int, node bool) (any, error) {
	out := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, invalidJSON(err)
		}
		key := t.(string) // the decoder lets nothing else be a key
		if _, twice := out[key]; twice {
			return nil, invalid("Request is invalid JSON: key %q is there twice", errors.Clip(key))
		}
		if node {
			if err := checkKey(key); err != nil {
				return nil, err
			}
		}
		if out[key], err = d.value(level+1, node); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, invalidJSON(err)
	}
	if node {
		return document(out), nil
	}
	return out, nil
}

func (d decoder) array(level int) (any, error) {
	out := []any{}
	for d.More() {
		v, err := d.value(level+1, false)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	if _, err := d.Token(); err != nil {
		return nil, invalidJSON(err)
	}
	return out, nil
}
