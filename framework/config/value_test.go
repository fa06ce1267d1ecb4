package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, text string) Value {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return Value{value: v}
}

// TestValue shows what each type makes of each value.
func TestValue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		json string
		get  func(Value) any
		want any
	}{
		{`9223372036854775807`, func(v Value) any { return v.Int64(1) }, int64(9223372036854775807)},
		{`9223372036854775808`, func(v Value) any { return v.Int64(1) }, int64(1)},
		{`"8"`, func(v Value) any { return v.Int(1) }, 8},
		{`1.5`, func(v Value) any { return v.Int(1) }, 1},
		{`{}`, func(v Value) any { return v.Int(1) }, 1},
		{`1.5`, func(v Value) any { return v.Float64(1) }, 1.5},
		{`"x"`, func(v Value) any { return v.Float64(1) }, 1.0},
		{`true`, func(v Value) any { return v.Bool(false) }, true},
		{`"true"`, func(v Value) any { return v.Bool(false) }, true},
		{`[]`, func(v Value) any { return v.Bool(true) }, true},
		{`"1m"`, func(v Value) any { return v.Duration(0) }, time.Minute},
		{`60`, func(v Value) any { return v.Duration(time.Second) }, time.Second},
		{`1.50`, func(v Value) any { return v.String("") }, "1.50"},
		{`null`, func(v Value) any { return v.String("default") }, "default"},
		{`null`, func(v Value) any { return v.Exists() }, false},
		{`""`, func(v Value) any { return v.Exists() }, true},
		{`["a",1]`, func(v Value) any { return v.StringSlice(nil) }, []string{"a", "1"}},
		{`"a,b"`, func(v Value) any { return v.StringSlice(nil) }, []string{"a", "b"}},
		{`{"a":"x","b":{"c":1}}`, func(v Value) any { return v.StringMap(nil) }, map[string]string{"a": "x", "b": `{"c":1}`}},
		{`{"a":1}`, func(v Value) any { return string(v.Bytes()) }, `{"a":1}`},
		{`"text"`, func(v Value) any { return string(v.Bytes()) }, "text"},
		{`null`, func(v Value) any { return v.Bytes() == nil }, true},
		{`{"a":{"n":9007199254740993}}`, func(v Value) any {
			var into struct{ A struct{ N int64 } }
			return fmt.Sprint(v.Scan(&into), into.A.N)
		}, "<nil> 9007199254740993"},
	} {
		if got := tt.get(parse(t, tt.json)); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: got %v, want %v", tt.json, got, tt.want)
		}
	}
}
