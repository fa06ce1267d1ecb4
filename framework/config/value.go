package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Value is what is at a path. Each type answers the default when there is
// nothing, or something that is not of that type; Err says whether the platform
// could be asked.
type Value struct {
	value any // as encoding/json has it, with json.Number
	err   error
}

// Err is why nothing is known of the value, nil if it is known.
func (v Value) Err() error { return v.err }

// Exists says whether there is a value. null is none.
func (v Value) Exists() bool { return v.value != nil }

// String answers a string; numbers and booleans as they are written.
func (v Value) String(def string) string {
	switch x := v.value.(type) {
	case string:
		return x
	case json.Number:
		return x.String()
	case bool:
		return strconv.FormatBool(x)
	}
	return def
}

// Int answers a whole number, also of a string that is one.
func (v Value) Int(def int) int {
	n, err := strconv.Atoi(v.String(""))
	if err != nil {
		return def
	}
	return n
}

// Int64 is Int for numbers of that size on any machine.
func (v Value) Int64(def int64) int64 {
	n, err := strconv.ParseInt(v.String(""), 10, 64)
	if err != nil {
		return def
	}
	return n
}

// Float64 answers a number, also of a string that is one.
func (v Value) Float64(def float64) float64 {
	f, err := strconv.ParseFloat(v.String(""), 64)
	if err != nil {
		return def
	}
	return f
}

// Bool answers a boolean, also of a string such as "true".
func (v Value) Bool(def bool) bool {
	b, err := strconv.ParseBool(v.String(""))
	if err != nil {
		return def
	}
	return b
}

// Duration answers what a string such as "1m30s" says.
func (v Value) Duration(def time.Duration) time.Duration {
	s, ok := v.value.(string)
	if !ok {
		return def
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return def
	}
	return d
}

// StringSlice answers an array, or the parts of a string with commas.
func (v Value) StringSlice(def []string) []string {
	switch x := v.value.(type) {
	case string:
		return strings.Split(x, ",")
	case []any:
		out := make([]string, len(x))
		for i, e := range x {
			out[i] = Value{value: e}.text()
		}
		return out
	}
	return def
}

// StringMap answers an object.
func (v Value) StringMap(def map[string]string) map[string]string {
	x, ok := v.value.(map[string]any)
	if !ok {
		return def
	}
	out := make(map[string]string, len(x))
	for k, e := range x {
		out[k] = Value{value: e}.text()
	}
	return out
}

// Bytes answers the bytes of a string, and JSON of everything else; nil if there
// is nothing.
func (v Value) Bytes() []byte {
	if v.value == nil {
		return nil
	}
	return []byte(v.text())
}

// Scan reads the value into what into points to, as encoding/json does.
func (v Value) Scan(into any) error {
	if v.err != nil {
		return v.err
	}
	b, err := json.Marshal(v.value)
	if err != nil {
		return fmt.Errorf("encode value: %w", err)
	}
	return json.Unmarshal(b, into)
}

// text is a string as it is, and anything else as JSON.
func (v Value) text() string {
	if s, ok := v.value.(string); ok {
		return s
	}
	b, err := json.Marshal(v.value)
	if err != nil { // it came from JSON
		panic(err)
	}
	return string(b)
}
