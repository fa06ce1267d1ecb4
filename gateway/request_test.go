package gateway

import (
	"encoding/json"
	"math"
	"net/url"
	"strings"
	"testing"

	"github.com/micro/platform/framework/errors"
	registrypb "github.com/micro/platform/proto/registry"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ path, service, endpoint string }{
		{"/", "", ""},
		{"/helloworld", "helloworld", "Helloworld.Call"},
		{"/helloworld/", "helloworld", "Helloworld.Call"},
		{"/helloworld/call", "helloworld", "Helloworld.Call"},
		{"/helloworld/Helloworld/Call", "helloworld", "Helloworld.Call"},
		{"/helloworld/helloworld/call", "helloworld", "Helloworld.Call"},
		{"/my-svc/say-hello", "my-svc", "MySvc.SayHello"},
		{"/svc/pingPong", "svc", "Svc.PingPong"},
		{"/v1/foo/bar", "v1.foo", "Foo.Bar"},
		{"/v1/foo", "v1", "V1.Foo"},
		{"/v1/foo/Bar/Call", "v1.foo", "Bar.Call"},
		{"/version/foo/bar", "version", "Foo.Bar"},
		{"/foo/bar/Baz/Call", "foo.bar", "Baz.Call"},
		{"/auth/Auth/Token", "auth", "Auth.Token"},
	} {
		if service, endpoint := resolve(tt.path); service != tt.service || endpoint != tt.endpoint {
			t.Errorf("resolve(%q) = %q, %q, want %q, %q", tt.path, service, endpoint, tt.service, tt.endpoint)
		}
	}
}

// message has a field of each kind.
func message() *registrypb.Value {
	m := &registrypb.Value{Name: "Request", Type: "Request"}
	for _, typ := range []string{"string", "bool", "int32", "int64", "uint32", "uint64", "float32", "float64", "[]uint8", "[]string",
		"[]int64", "map[string]int32", "Enum", "Timestamp"} {
		m.Values = append(m.Values, &registrypb.Value{Name: strings.Trim(strings.NewReplacer("[", "_", "]", "_").Replace(typ), "_"), Type: typ})
	}
	m.Values = append(m.Values, &registrypb.Value{Name: "inner", Type: "Inner", Values: []*registrypb.Value{{Name: "n", Type: "int64"}}})
	return m
}

// FuzzBody shows that whatever is accepted as a body is JSON that says the
// same, and that nothing makes the checks panic.
func FuzzBody(f *testing.F) {
	for _, s := range []string{`{}`, `{"string":"x","int32":1e3,"inner":{"n":"5"}}`, `{"map_string_int32":{"a":1}}`, `[1]`, `{"a":1,"a":2}`,
		`{"float64":1e999}`, `{"uint64":-1}`, "\ufeff{}", `{"a":"\ud800"}`, `{"timestamp":{}}`, `{"int64":"12 "}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		object, err := parseObject([]byte(body))
		if err != nil {
			return
		}
		var same map[string]any
		if err := json.Unmarshal([]byte(body), &same); err != nil {
			var number *json.UnmarshalTypeError // one that float64 does not hold
			if !errors.As(err, &number) {
				t.Fatalf("%q was accepted: %v", body, err)
			}
		}
		if err := checkMessage(object, message(), ""); err == nil && !json.Valid(encode(object)) {
			t.Fatalf("%q became %s", body, encode(object))
		}
	})
}

// FuzzQuery shows that every query is refused or becomes an object whose fields
// have their types.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"string=1&int32=007&bool=1", "uint8=x&string=a&string=b", "inner.n=1&inner[n]=2", "a[]=1&a[]=2", "a=1&a.b=2",
		"map_string_int32[x]=1", "string[0]=a&string[10]=b", "int64=12345678901234567890", "[]=1", "a..b=1", "a[[b]]=1&%zz", "float32=1e39"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		p, err := parseParameters(values)
		if err != nil {
			return
		}
		object, err := p.request(message())
		if err != nil {
			return
		}
		if err := checkMessage(object, message(), ""); err != nil {
			t.Fatalf("%q became %s: %v", query, encode(object), err)
		}
	})
}

// FuzzNumber shows that integers are accepted exactly when they fit.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"0", "-1", "2147483647", "2147483648", "1e3", "1.0", "1.5", "-0", "1e400", "9223372036854775808", "0x10", "1_000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) || strings.TrimSpace(text) != text {
			return
		}
		v, ok := asJSON(text).(json.Number)
		if !ok {
			return
		}
		n, err := v.Float64()
		accepted := checkNumber(v, "int32", "f") == nil
		if want := err == nil && n == math.Trunc(n) && n >= math.MinInt32 && n <= math.MaxInt32; accepted != want {
			t.Errorf("int32 takes %s: %v, want %v", text, accepted, want)
		}
	})
}
