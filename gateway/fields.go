package gateway

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/micro/platform/framework/errors"
	registrypb "github.com/micro/platform/proto/registry"
)

// wellKnown are messages whose JSON is not an object of their fields.
var wellKnown = map[string]bool{
	"Any": true, "Timestamp": true, "Duration": true, "Struct": true, "Value": true, "ListValue": true, "FieldMask": true, "Empty": true,
	"BoolValue": true, "BytesValue": true, "DoubleValue": true, "FloatValue": true, "Int32Value": true, "Int64Value": true,
	"StringValue": true, "UInt32Value": true, "UInt64Value": true,
}

// bits of the integers.
var bits = map[string]int{"int32": 32, "int64": 64, "uint32": 32, "uint64": 64}

// field finds a field by its name in the .proto or by its lowerCamel name.
func field(message *registrypb.Value, key string) *registrypb.Value {
	for _, f := range message.GetValues() {
		if f.GetName() == key || camel(f.GetName()) == key {
			return f
		}
	}
	return nil
}

func camel(s string) string {
	first, rest, ok := strings.Cut(s, "_")
	if !ok {
		return s
	}
	var b strings.Builder
	b.WriteString(first)
	for piece := range strings.SplitSeq(rest, "_") {
		if piece != "" {
			b.WriteString(strings.ToUpper(piece[:1]) + piece[1:])
		}
	}
	return b.String()
}

// checkMessage says what is wrong with an object that should be a message.
// What the registry does not know is left to the callee.
func checkMessage(object map[string]any, message *registrypb.Value, path string) error {
	if len(message.GetValues()) == 0 || wellKnown[message.GetType()] {
		return nil
	}
	for key, v := range object {
		if f := field(message, key); f != nil && v != nil {
			if err := check(v, f, f.GetType(), path+key); err != nil {
				return err
			}
		}
	}
	return nil
}

// check says what is wrong with a value that should be of a type. f has the
// fields of a message.
func check(v any, f *registrypb.Value, typ, path string) error {
	switch {
	case typ == "string" || typ == "[]uint8":
		if _, ok := v.(string); !ok {
			return wrong(path, "a string", v)
		}
	case typ == "bool":
		if _, ok := v.(bool); !ok && v != "true" && v != "false" {
			return wrong(path, "a boolean", v)
		}
	case bits[typ] > 0, typ == "float32", typ == "float64":
		return checkNumber(v, typ, path)
	case strings.HasPrefix(typ, "[]"):
		list, ok := v.([]any)
		if !ok {
			return wrong(path, "a list", v)
		}
		for i, item := range list {
			if err := check(item, nil, typ[2:], path+"["+strconv.Itoa(i)+"]"); err != nil {
				return err
			}
		}
	case strings.HasPrefix(typ, "map["):
		return checkMap(v, typ, path)
	case len(f.GetValues()) > 0 && !wellKnown[typ]:
		object, ok := v.(map[string]any)
		if !ok {
			return wrong(path, "an object", v)
		}
		return checkMessage(object, f, path+".")
	}
	return nil // an enum, or a message whose fields are not known
}

func checkMap(v any, typ, path string) error {
	object, ok := v.(map[string]any)
	if !ok {
		return wrong(path, "an object", v)
	}
	_, element, _ := strings.Cut(typ, "]")
	for key, item := range object {
		if err := check(item, nil, element, path+"."+errors.Clip(key)); err != nil {
			return err
		}
	}
	return nil
}

// checkNumber takes numbers and, as JSON of protobuf has it, their text.
func checkNumber(v any, typ, path string) error {
	text := ""
	switch n := v.(type) {
	case json.Number:
		text = n.String()
	case string:
		text = n
	default:
		return wrong(path, "a number", v)
	}
	if strings.HasPrefix(typ, "float") && (text == "NaN" || text == "Infinity" || text == "-Infinity") {
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && math.Abs(f) != math.Inf(1) {
		return wrong(path, "a number", v)
	}
	if strings.HasPrefix(typ, "float") {
		if err != nil || typ == "float32" && math.Abs(f) > math.MaxFloat32 {
			return badRequest("field %q: %s is out of range for %s", path, errors.Clip(text), typ)
		}
		return nil
	}
	if f != math.Trunc(f) {
		return badRequest("field %q: want an integer, got %s", path, errors.Clip(text))
	}
	if strings.ContainsAny(text, ".eE") {
		text = strconv.FormatFloat(f, 'f', 0, 64)
	}
	if strings.HasPrefix(typ, "u") {
		_, err = strconv.ParseUint(text, 10, bits[typ])
	} else {
		_, err = strconv.ParseInt(text, 10, bits[typ])
	}
	if err != nil {
		return badRequest("field %q: integer out of range, %s is no %s", path, errors.Clip(text), typ)
	}
	return nil
}

func wrong(path, want string, got any) error {
	return badRequest("field %q: want %s, got %s", errors.Clip(path), want, kindOf(got))
}
