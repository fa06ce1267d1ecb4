package gateway

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/micro/platform/framework/errors"
	registrypb "github.com/micro/platform/proto/registry"
)

// parameter is a parameter of a query or form: its values, or the parameters
// inside of it.
type parameter struct {
	values []string
	list   bool // "a[]", whatever the type
	inside map[string]*parameter
}

// parseParameters makes a tree of "a.b=1&a[c]=2&d[]=3", of as many nodes as a
// JSON body may have keys: a long path makes many of a few bytes.
func parseParameters(values url.Values) (*parameter, error) {
	root := &parameter{inside: map[string]*parameter{}}
	nodes := 0
	for key, vs := range values {
		at := root
		path := strings.FieldsFunc(strings.ReplaceAll(key, "[]", ""), func(r rune) bool { return r == '.' || r == '[' || r == ']' })
		if len(path) == 0 || len(path) > maxDepth {
			return nil, badRequest("invalid parameter %q", errors.Clip(key))
		}
		for _, name := range path {
			if at.inside == nil {
				at.inside = map[string]*parameter{}
			}
			if at.inside[name] == nil {
				if nodes++; nodes > maxKeys {
					return nil, badRequest("more than %d parameters", maxKeys)
				}
				at.inside[name] = &parameter{}
			}
			at = at.inside[name]
		}
		at.values = append(at.values, vs...)
		at.list = at.list || strings.HasSuffix(key, "[]")
	}
	return root, nil
}

// request is object for the message of a request, checked as a whole.
func (p *parameter) request(message *registrypb.Value) (map[string]any, error) {
	object, err := p.object(message, "")
	if err != nil {
		return nil, err
	}
	return object, checkMessage(object, message, "")
}

// object turns parameters into the JSON object of a message. The types of its
// fields decide what "123" is; where they are not known, JSON is tried first.
func (p *parameter) object(message *registrypb.Value, path string) (map[string]any, error) {
	out := make(map[string]any, len(p.inside))
	for _, key := range slices.Sorted(maps.Keys(p.inside)) {
		inner, f := p.inside[key], field(message, key)
		if len(inner.values) > 0 && len(inner.inside) > 0 {
			return nil, badRequest("parameter %q is both a value and an object", errors.Clip(path+key))
		}
		v, ok, err := inner.value(f, f.GetType(), path+key)
		if err != nil {
			return nil, err
		}
		if ok {
			out[key] = v
		}
	}
	return out, nil
}

// value answers false for a parameter that is as good as absent.
func (p *parameter) value(f *registrypb.Value, typ, path string) (any, bool, error) {
	isList := strings.HasPrefix(typ, "[]") && typ != "[]uint8"
	switch {
	case isList && len(p.inside) > 0:
		v, err := p.indexed(typ[2:], path)
		return v, true, err
	case isList || p.list:
		v, err := list(p.values, strings.TrimPrefix(typ, "[]"), path)
		return v, true, err
	case len(p.inside) > 0:
		if element, ok := mapElement(typ); ok {
			v, err := p.entries(element, path)
			return v, true, err
		}
		v, err := p.object(f, path+".")
		return v, true, err
	case len(p.values) == 0:
		return nil, false, nil
	default:
		return scalar(p.values[len(p.values)-1], f, typ, path)
	}
}

func mapElement(typ string) (string, bool) {
	if !strings.HasPrefix(typ, "map[") {
		return "", false
	}
	_, element, ok := strings.Cut(typ, "]")
	return element, ok
}

// entries is a map.
func (p *parameter) entries(element, path string) (map[string]any, error) {
	out := map[string]any{}
	for key, inner := range p.inside {
		v, ok, err := inner.value(nil, element, path+"."+key)
		if err != nil {
			return nil, err
		}
		if ok {
			out[key] = v
		}
	}
	return out, nil
}

// indexed is a list that came as "tags[0]=x&tags[1]=y".
func (p *parameter) indexed(element, path string) ([]any, error) {
	out := []any{}
	byIndex := func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return x - y
	}
	for _, index := range slices.SortedFunc(maps.Keys(p.inside), byIndex) {
		if _, err := strconv.Atoi(index); err != nil {
			return nil, badRequest("field %q is a list, and %q no place in it", errors.Clip(path), errors.Clip(index))
		}
		v, ok, err := p.inside[index].value(nil, element, path)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, v)
		}
	}
	return out, nil
}

// list is repeated values, or one value that is a JSON array.
func list(values []string, element, path string) ([]any, error) {
	if len(values) == 1 && strings.HasPrefix(values[0], "[") {
		if v, ok := asJSON(values[0]).([]any); ok {
			return v, check(v, nil, "[]"+element, path)
		}
	}
	out := []any{}
	for _, text := range values {
		v, ok, err := scalar(text, nil, element, path)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, v)
		}
	}
	return out, nil
}

// scalar turns a text into a value of a type; "" is the type that is not known.
func scalar(text string, f *registrypb.Value, typ, path string) (any, bool, error) {
	v := asJSON(text)
	switch {
	case typ == "string":
		if s, ok := v.(string); ok {
			return s, true, nil
		}
		return text, true, nil
	case typ == "[]uint8":
		return text, true, nil
	case typ != "" && text == "":
		return nil, false, nil
	case bits[typ] > 0 && v == text: // "007"
		if n := strings.TrimLeft(text, "0"); n != "" {
			v = n
		}
	case typ == "bool" && (text == "1" || text == "0"):
		v = text == "1"
	}
	if v == nil {
		return nil, true, nil
	}
	return v, true, check(v, f, typ, path)
}

// asJSON reads a text as JSON, or answers the text itself.
func asJSON(text string) any {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() || d.InputOffset() != int64(len(text)) {
		return text
	}
	return v
}
