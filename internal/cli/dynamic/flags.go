package dynamic

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/micro/platform/framework/errors"
	registrypb "github.com/micro/platform/proto/registry"
)

// Arguments are what follows the name of a service.
type Arguments struct {
	Words []string
	Flags []Flag
	Help  bool
}

// Flag is one --name of the command line, each time it was given.
type Flag struct {
	Name   string
	Values []string // empty for a flag without a value
}

// Parse takes the words and flags apart. A flag's value is what follows its =,
// or else the next argument, unless that starts with -- itself.
func Parse(args []string) (Arguments, error) {
	var a Arguments
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--help" || arg == "-h" && len(a.Flags) == 0:
			a.Help = true
			continue
		case !strings.HasPrefix(arg, "--"):
			if len(a.Flags) > 0 {
				return a, fmt.Errorf("%q belongs to no flag: write --name=value", arg)
			}
			a.Words = append(a.Words, arg)
			continue
		}
		name, value, has := strings.Cut(arg[2:], "=")
		if name == "" {
			return a, invalidFlag(arg)
		}
		if !has && i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
			i++
			value, has = args[i], true
		}
		a.add(name, value, has)
	}
	return a, nil
}

func (a *Arguments) add(name, value string, has bool) {
	var values []string
	if has {
		values = []string{value}
	}
	for i := range a.Flags {
		if a.Flags[i].Name == name {
			a.Flags[i].Values = append(a.Flags[i].Values, values...)
			return
		}
	}
	a.Flags = append(a.Flags, Flag{name, values})
}

// Request turns flags into the JSON of an endpoint's request. Only what was
// given is in it.
func Request(e *registrypb.Endpoint, flags []Flag) ([]byte, error) {
	body := map[string]any{}
	for _, f := range flags {
		path, kind, err := lookup(e, f.Name)
		if err != nil {
			return nil, err
		}
		value, err := f.value(kind)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", f.Name, err)
		}
		if err := put(body, path, value); err != nil {
			return nil, fmt.Errorf("--%s: %w", f.Name, err)
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// lookup finds the field that a flag means, and its type; "" if the registry
// does not know the fields of the request.
func lookup(e *registrypb.Endpoint, name string) (path []string, kind string, err error) {
	path = strings.Split(name, "-")
	if !described(e) {
		return path, "", nil
	}
	fields := e.GetRequest().GetValues()
	for i, part := range path {
		found := field(fields, part)
		if found == nil {
			return nil, "", unknownFlag{name, Flags(e)}
		}
		if i == len(path)-1 {
			return path, found.GetType(), nil
		}
		fields = found.GetValues()
	}
	return path, "", nil
}

// described says whether the registry knows the request's fields. It does not
// for streams, and for services that described nothing.
func described(e *registrypb.Endpoint) bool {
	return e.GetRequest() != nil && !(e.GetRequest().GetType() == "Context" && len(e.GetRequest().GetValues()) == 0)
}

func field(fields []*registrypb.Value, name string) *registrypb.Value {
	for _, f := range fields {
		if f.GetName() == name {
			return f
		}
	}
	return nil
}

type invalidFlag string

func (f invalidFlag) Error() string { return "Invalid flag: " + string(f) + ": write --name=value" }

type unknownFlag struct {
	name  string
	known []string
}

func (u unknownFlag) Error() string {
	return "Unknown flag: " + u.name + suggest("--", u.name, u.known)
}

func put(body map[string]any, path []string, value any) error {
	for i, part := range path {
		if part == "" {
			return fmt.Errorf("is not the name of a field")
		}
		if i == len(path)-1 {
			body[part] = value
			return nil
		}
		if body[part] == nil {
			body[part] = map[string]any{}
		}
		next, ok := body[part].(map[string]any)
		if !ok {
			return fmt.Errorf("%s has a value already", strings.Join(path[:i+1], "-"))
		}
		body = next
	}
	return nil
}

func (f Flag) value(kind string) (any, error) {
	if element, ok := strings.CutPrefix(kind, "[]"); ok && kind != "[]uint8" {
		return f.list(element)
	}
	if len(f.Values) == 0 {
		if kind == "bool" || kind == "" {
			return true, nil
		}
		return nil, fmt.Errorf("needs a value, a %s", kind)
	}
	return convert(kind, f.Values[0])
}

// list is an array: given once its value is split at commas, given more often
// each value is an element.
func (f Flag) list(element string) (any, error) {
	values := f.Values
	if len(values) == 1 {
		if raw, ok := asJSON(values[0], '['); ok {
			return raw, nil
		}
		if scalar(element) {
			values = strings.Split(values[0], ",")
		}
	}
	list := make([]any, 0, len(values))
	for _, v := range values {
		x, err := convert(element, v)
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, nil
}

func scalar(kind string) bool {
	switch kind {
	case "string", "bool", "int32", "int64", "uint32", "uint64", "float32", "float64":
		return true
	}
	return false
}

// convert makes the JSON value of a text. Of what is neither a scalar nor known,
// such as messages and enums, JSON is taken as it is and other text as text.
func convert(kind, text string) (any, error) {
	switch kind {
	case "string":
		return text, nil
	case "bool":
		v, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return v, nil
	case "int32", "int64":
		n, err := strconv.ParseInt(text, 10, bits(kind))
		return n, whole(kind, text, err)
	case "uint32", "uint64":
		n, err := strconv.ParseUint(text, 10, bits(kind))
		return n, whole(kind, text, err)
	case "float32", "float64":
		v, err := strconv.ParseFloat(text, bits(kind))
		if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			err = strconv.ErrRange
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not a %s", text, kind)
		}
		return v, nil
	case "[]uint8":
		return base64.StdEncoding.EncodeToString([]byte(text)), nil
	case "":
		if raw, ok := asJSON(text, 0); ok {
			return raw, nil
		}
		return text, nil
	default:
		if raw, ok := asJSON(text, '{'); ok {
			return raw, nil
		}
		return text, nil
	}
}

func bits(kind string) int {
	if strings.HasSuffix(kind, "32") {
		return 32
	}
	return 64
}

func whole(kind, text string, err error) error {
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%q is too large for %s", text, kind)
	}
	if err != nil {
		return fmt.Errorf("%q is not a whole number (%s)", text, kind)
	}
	return nil
}

// asJSON answers text that is JSON and starts with a byte, or with any if 0.
func asJSON(text string, start byte) (json.RawMessage, bool) {
	t := strings.TrimSpace(text)
	if t == "" || start != 0 && t[0] != start || !json.Valid([]byte(t)) {
		return nil, false
	}
	return json.RawMessage(t), true
}
