package dynamic

import (
	"strings"
	"testing"

	registrypb "github.com/micro/platform/proto/registry"
)

func endpoint(name string, fields ...*registrypb.Value) *registrypb.Endpoint {
	return &registrypb.Endpoint{Name: name, Request: &registrypb.Value{Name: "Request", Type: "Request", Values: fields}}
}

func value(name, kind string, fields ...*registrypb.Value) *registrypb.Value {
	return &registrypb.Value{Name: name, Type: kind, Values: fields}
}

// fields has one of every type that the registry describes.
var fields = []*registrypb.Value{
	value("name", "string"), value("first_name", "string"), value("on", "bool"), value("i32", "int32"), value("i64", "int64"),
	value("u64", "uint64"), value("f32", "float32"), value("f64", "float64"), value("payload", "[]uint8"), value("kind", "Kind"),
	value("names", "[]string"), value("bools", "[]bool"), value("n32", "[]int32"), value("n64", "[]int64"), value("floats", "[]float64"),
	value("labels", "map[string]string"), value("items", "[]Item"),
	value("options", "Options", value("limit", "int64"), value("deep", "Deep", value("er", "string"))),
}

func TestRequest(t *testing.T) {
	t.Parallel()
	e := endpoint("Helloworld.Call", fields...)
	for _, tt := range []struct{ args, want string }{
		{"", `{}`},
		{"--name=Jane", `{"name":"Jane"}`},
		{"--name Jane", `{"name":"Jane"}`},
		{"--name=", `{"name":""}`},
		{"--name=a=b", `{"name":"a=b"}`},
		{"--name -5", `{"name":"-5"}`},
		{"--first_name <x>", `{"first_name":"<x>"}`},
		{"--on", `{"on":true}`},
		{"--on --name x", `{"name":"x","on":true}`},
		{"--on false", `{"on":false}`},
		{"--on=t", `{"on":true}`},
		{"--on=0", `{"on":false}`},
		{"--i32 -7", `{"i32":-7}`},
		{"--i64 9007199254740993", `{"i64":9007199254740993}`},
		{"--i64 007", `{"i64":7}`},
		{"--u64 18446744073709551615", `{"u64":18446744073709551615}`},
		{"--f64 1.5", `{"f64":1.5}`},
		{"--f32 1.5", `{"f32":1.5}`},
		{"--payload hi", `{"payload":"aGk="}`},
		{"--kind GRANTED", `{"kind":"GRANTED"}`},
		{"--names a,b", `{"names":["a","b"]}`},
		{"--names a,b --names c", `{"names":["a,b","c"]}`},
		{"--bools true,0", `{"bools":[true,false]}`},
		{"--n32 1,2", `{"n32":[1,2]}`},
		{"--n64 1 --n64 2", `{"n64":[1,2]}`},
		{"--floats 1.5,2", `{"floats":[1.5,2]}`},
		{`--labels {"a":"b"}`, `{"labels":{"a":"b"}}`},
		{"--labels text", `{"labels":"text"}`},
		{`--items [{"id":1}]`, `{"items":[{"id":1}]}`},
		{`--items {"id":1} --items {"id":2}`, `{"items":[{"id":1},{"id":2}]}`},
		{"--options-limit 3", `{"options":{"limit":3}}`},
		{"--options-limit 3 --options-deep-er x", `{"options":{"deep":{"er":"x"},"limit":3}}`},
		{`--options {"limit":3}`, `{"options":{"limit":3}}`},
	} {
		a, err := Parse(strings.Fields(tt.args))
		if err != nil {
			t.Errorf("Parse(%s): %v", tt.args, err)
			continue
		}
		if got, err := Request(e, a.Flags); err != nil || string(got) != tt.want {
			t.Errorf("Request(%s) = %s, %v, want %s", tt.args, got, err, tt.want)
		}
	}
}

func TestRequestRefuses(t *testing.T) {
	t.Parallel()
	e := endpoint("Helloworld.Call", fields...)
	for args, want := range map[string]string{
		"--nmae x":                       `Unknown flag: nmae; did you mean "--name"?`,
		"--zzzzzzzz x":                   "Unknown flag: zzzzzzzz; known are --name",
		"--options_limit 3":              `did you mean "--options-limit"?`,
		"--name":                         "--name: needs a value, a string",
		"--on maybe":                     `"maybe" is neither true nor false`,
		"--i32 x":                        "not a whole number",
		"--i32 2147483648":               "too large for int32",
		"--i64 1.5":                      "not a whole number",
		"--u64 -1":                       "not a whole number",
		"--f64 NaN":                      "not a float64",
		"--n32 1,x":                      "not a whole number",
		`--options {} --options-limit 3`: "has a value already",
	} {
		a, err := Parse(strings.Fields(args))
		if err == nil {
			_, err = Request(e, a.Flags)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Request(%s) = %v, want %q", args, err, want)
		}
	}
	for _, args := range []string{"--", "--=x", "call --name x stray"} {
		if _, err := Parse(strings.Fields(args)); err == nil {
			t.Errorf("Parse(%s) finds nothing wrong", args)
		}
	}
}

// TestRequestOfUnknownFields: of streams and of services that described nothing
// the fields are not known, so JSON is taken as it is and the rest as text.
func TestRequestOfUnknownFields(t *testing.T) {
	t.Parallel()
	for _, e := range []*registrypb.Endpoint{{Name: "A.B"}, {Name: "A.B", Request: value("Context", "Context")}} {
		got, err := Request(e, []Flag{{"count", []string{"3"}}, {"name", []string{"Jane"}}, {"on", nil}})
		if want := `{"count":3,"name":"Jane","on":true}`; err != nil || string(got) != want {
			t.Errorf("Request = %s, %v, want %s", got, err, want)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	s := &registrypb.Service{Name: "helloworld", Endpoints: []*registrypb.Endpoint{
		endpoint("Helloworld.Call"), endpoint("Helloworld.PingPong"), endpoint("Other.Do"), endpoint("Third.Do"), endpoint("Other.Only"),
	}}
	hyphen := &registrypb.Service{Name: "my-svc", Endpoints: []*registrypb.Endpoint{endpoint("MySvc.Do")}}
	for _, tt := range []struct {
		service     *registrypb.Service
		words, want string
	}{
		{s, "call", "Helloworld.Call"},
		{s, "Call", "Helloworld.Call"},
		{s, "pingPong", "Helloworld.PingPong"},
		{s, "pingpong", "Helloworld.PingPong"},
		{s, "ping-pong", "Helloworld.PingPong"},
		{s, "other do", "Other.Do"},
		{s, "only", "Other.Only"},
		{hyphen, "do", "MySvc.Do"},
	} {
		if e, err := Find(tt.service, strings.Fields(tt.words)); err != nil || e.GetName() != tt.want {
			t.Errorf("Find(%s) = %v, %v, want %s", tt.words, e, err, tt.want)
		}
	}
	for words, want := range map[string]string{
		"do":        "Endpoint Helloworld.Do not found for service helloworld",
		"cal":       `did you mean "micro helloworld call"?`,
		"a b c":     "more than a handler and a method",
		"nothing x": "Endpoint Nothing.X not found",
	} {
		if e, err := Find(s, strings.Fields(words)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Find(%s) = %v, %v, want %q", words, e, err, want)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	s := &registrypb.Service{Name: "helloworld", Version: "latest", Endpoints: []*registrypb.Endpoint{
		endpoint("Other.Do"), endpoint("Helloworld.Call", value("name", "string"), value("options", "Options", value("limit", "int64"))),
	}}
	var b strings.Builder
	ServiceHelp(&b, s)
	if want := "COMMANDS:\n\tcall\n\tother do\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("ServiceHelp = %q, want it to end in %q", b.String(), want)
	}
	b.Reset()
	EndpointHelp(&b, s, s.GetEndpoints()[1], []string{"call"})
	want := "NAME:\n\tmicro helloworld call\n\nUSAGE:\n\tmicro helloworld call [flags]\n\nFLAGS:\n\t--name string\n\t--options-limit int64\n"
	if b.String() != want {
		t.Errorf("EndpointHelp = %q, want %q", b.String(), want)
	}
}

// TestHelpIsInert whatever names somebody registered.
func TestHelpIsInert(t *testing.T) {
	t.Parallel()
	s := &registrypb.Service{Name: "helloworld", Version: "latest", Endpoints: []*registrypb.Endpoint{
		endpoint("Helloworld.\x1b]0;x\a\nCall", value("\x1b[2Jname", "str\ning")),
	}}
	var b strings.Builder
	ServiceHelp(&b, s)
	EndpointHelp(&b, s, s.GetEndpoints()[0], []string{"call"})
	if got := b.String(); strings.ContainsAny(got, "\x1b\a") || strings.Contains(got, "\nCall") || strings.Contains(got, "\ning") {
		t.Errorf("help = %q", got)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("--name=Jane --options-limit 3 --names a,b")
	f.Add("--items [1] --on --i64 007 --options-deep-er")
	e := endpoint("Helloworld.Call", fields...)
	f.Fuzz(func(t *testing.T, line string) {
		a, err := Parse(strings.Fields(line))
		if err != nil {
			return
		}
		b, err := Request(e, a.Flags)
		if err == nil && (len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}') {
			t.Errorf("Request(%q) = %s", line, b)
		}
	})
}
