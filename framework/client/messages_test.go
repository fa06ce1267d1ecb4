package client

import (
	"encoding/json"
	"testing"
)

// TestIntegers are strings in JSON, and keep all their digits.
func TestIntegers(t *testing.T) {
	t.Parallel()
	type numbers struct {
		I Int64            `json:"i,omitempty"`
		U Uint64           `json:"u,omitempty"`
		L []Int64          `json:"l,omitempty"`
		M map[string]Int64 `json:"m,omitempty"`
	}
	for _, tt := range []struct{ name, in, out string }{
		{"strings", `{"i":"-9223372036854775808","u":"18446744073709551615","l":["1"],"m":{"a":"2"}}`, `{"i":"-9223372036854775808","u":"18446744073709551615","l":["1"],"m":{"a":"2"}}`},
		{"numbers", `{"i":9007199254740993,"u":1}`, `{"i":"9007199254740993","u":"1"}`},
		{"null", `{"i":null,"u":null}`, `{}`},
		{"too large", `{"i":"9223372036854775808"}`, ""},
		{"sign", `{"u":"-1"}`, ""},
		{"text", `{"i":"x"}`, ""},
	} {
		var n numbers
		err := json.Unmarshal([]byte(tt.in), &n)
		if (err == nil) != (tt.out != "") {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got, _ := json.Marshal(n); err == nil && string(got) != tt.out {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.out)
		}
	}
}
