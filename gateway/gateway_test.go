package gateway_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/gateway"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/proxy/edge/edgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// settle bounds how long a push may take in tests.
const settle = 10 * time.Second

// edge is a gateway under test, with service "echo" in namespace "acme".
type edge struct {
	*edgetest.Platform
	t     testing.TB
	url   string
	token string // of a person of acme

	service *edgetest.Service // "echo"
}

func start(t testing.TB, more ...app.Component) *edge {
	t.Helper()
	return startWith(t, nil, more...)
}

// startWith is start with settings of the gateway's.
func startWith(t testing.TB, settings map[string]string, more ...app.Component) *edge {
	t.Helper()
	p := edgetest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	env := map[string]string{"MICRO_GATEWAY_ADDRESS": l.Addr().String(), "MICRO_GATEWAY_DOMAIN": "example.com", "MICRO_GATEWAY_BODY_LIMIT": "65536"}
	maps.Copy(env, settings)
	p.Run(t, env, append(more, gateway.Component)...)
	service := edgetest.NewService(t, "echo")
	p.Register("acme", service.Entry())
	e := &edge{p, t, "http://" + l.Addr().String(), p.User(t, "acme"), service}
	e.wait()
	return e
}

// wait waits until the edge knows the service.
func (e *edge) wait() {
	e.t.Helper()
	e.until(func() bool {
		status, _, _ := e.do("GET", "/echo/Echo/Call", "")
		return status == http.StatusOK
	})
}

// until waits for what a push brings about.
func (e *edge) until(holds func() bool) {
	e.t.Helper()
	end := time.After(settle)
	for !holds() {
		select {
		case <-end:
			e.t.Fatal("the edge has not heard of a change")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// do makes a request as the person of acme, unless headers say otherwise.
func (e *edge) do(method, path, body string, headers ...string) (int, http.Header, string) {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+e.token)
	for i := 0; i < len(headers); i += 2 {
		switch {
		case headers[i] == "Host":
			req.Host = headers[i+1]
		case headers[i+1] == "":
			req.Header.Del(headers[i])
		default:
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	rsp, err := http.DefaultTransport.RoundTrip(req) // no redirects
	if err != nil {
		e.t.Fatal(err)
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return rsp.StatusCode, rsp.Header, string(b)
}

// sent answers the JSON that reached the service.
func (e *edge) sent(method, path, body string, headers ...string) string {
	e.t.Helper()
	status, _, text := e.do(method, path, body, headers...)
	var a struct {
		Sent json.RawMessage `json:"sent"`
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil || status != http.StatusOK {
		return text
	}
	var b bytes.Buffer
	if err := json.Compact(&b, a.Sent); err != nil {
		e.t.Fatal(err)
	}
	return b.String()
}

// TestRequest shows what JSON a service gets for a request.
func TestRequest(t *testing.T) {
	t.Parallel()
	e := start(t)
	form := "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name, method, path, kind, body, want string
	}{
		{"query of a type each", "GET", "/echo/call?name=123&age=3&ok=true&ratio=1.5", "", "", `{"age":3,"name":"123","ok":true,"ratio":1.5}`},
		{"no query", "GET", "/echo/Echo/Call", "", "", `{}`},
		{"big integer", "GET", "/echo/call?big=1234567890123456789", "", "", `{"big":1234567890123456789}`},
		{"leading zeros", "GET", "/echo/call?age=007", "", "", `{"age":"7"}`},
		{"nested", "GET", "/echo/call?inner.count=1&labels[a]=1", "", "", `{"inner":{"count":1},"labels":{"a":"1"}}`},
		{"lists", "GET", "/echo/call?tags=x&tags=y", "", "", `{"tags":["x","y"]}`},
		{"list with brackets", "GET", "/echo/call?tags[]=x", "", "", `{"tags":["x"]}`},
		{"list with places", "GET", "/echo/call?tags[1]=y&tags[0]=x", "", "", `{"tags":["x","y"]}`},
		{"unknown fields", "GET", "/echo/call?c[]=x&d=4&e=word&f.g=null", "", "", `{"c":["x"],"d":4,"e":"word","f":{"g":null}}`},
		{"empty", "GET", "/echo/call?name&age=", "", "", `{"name":""}`},
		{"camel", "GET", "/echo/call?firstName=12", "", "", `{"firstName":"12"}`},
		{"body with its digits", "POST", "/echo/Echo/Call", "application/json", `{ "b" : 1.50, "a":"x" }`, `{"a":"x","b":1.50}`},
		{"body without a type", "POST", "/echo/Echo/Call", "", `{"name":"x"}`, `{"name":"x"}`},
		{"empty body", "POST", "/echo/Echo/Call", "application/json", ``, `{}`},
		{"query into body", "POST", "/echo/Echo/Call?name=q&age=1", "application/json; charset=utf-8", `{"name":"b"}`, `{"age":1,"name":"b"}`},
		{"form", "POST", "/echo/Echo/Call?age=1", form, "name=5&ok=true&other=1", `{"age":1,"name":"5","ok":true,"other":"1"}`},
		{"JSON that curl calls a form", "POST", "/echo/Echo/Call", form, `{"name":"x"}`, `{"name":"x"}`},
		{"multipart", "POST", "/echo/Echo/Call", "multipart/form-data; boundary=x",
			"--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nJane\r\n--x\r\nContent-Disposition: form-data; name=\"data\"; filename=\"f\"\r\n\r\nhi\r\n--x--\r\n",
			`{"data":"aGk=","name":"Jane"}`},
		{"last of a value", "GET", "/echo/call?name=a&name=b", "", "", `{"name":"b"}`},
		{"null", "GET", "/echo/call?age=null&name=null", "", "", `{"age":null,"name":"null"}`},
		{"names with brackets", "GET", "/echo/call?inner[count]=1&a[b]=x", "", "", `{"a":{"b":"x"},"inner":{"count":1}}`},
		{"escaped", "GET", "/echo/call?name=%C3%A4%26+b", "", "", `{"name":"ä& b"}`},
		{"text that is JSON", "POST", "/echo/Echo/Call", "text/plain", `{"name":"x"}`, `{"name":"x"}`},
		{"gRPC's JSON", "POST", "/echo/Echo/Call", "application/grpc+json", `{"name":"x"}`, `{"name":"x"}`},
		{"unknown type", "POST", "/echo/Echo/Call", "application/vnd.mine+json", `{"name":"x"}`, `{"name":"x"}`},
		{"empty body with a query", "DELETE", "/echo/Echo/Call?name=x", "application/json", ``, `{"name":"x"}`},
		{"null in a body", "PATCH", "/echo/Echo/Call", "application/json", `{"name":null}`, `{"name":null}`},
		{"big integer in a merged body", "POST", "/echo/Echo/Call?name=q", "", `{"big":1234567890123456789}`, `{"big":1234567890123456789,"name":"q"}`},
		{"repeated in a form", "POST", "/echo/Echo/Call", form, "tags=x&tags=y&other=1&other=2", `{"other":"1,2","tags":["x","y"]}`},
		{"head", "HEAD", "/echo/Echo/Call?name=x", "", "", ``},
		{"by hyphens", "POST", "/echo/e-cho/c-all", "", `{"name":"x"}`, `{"id":"go.micro.client","code":404,"detail":"unknown service Echo.CAll","status":"Not Found"}`},
		{"put", "PUT", "/echo/Echo/Call", "", `{"age":"3"}`, `{"age":"3"}`},
		{"other method", "REPORT", "/echo/Echo/Call?name=x", "", ``, `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := e.sent(tt.method, tt.path, tt.body, "Content-Type", tt.kind); got != tt.want {
				t.Errorf("the service got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestBadRequest shows that bad input is refused before it reaches a service,
// with the shape of the contract.
func TestBadRequest(t *testing.T) {
	t.Parallel()
	e := start(t)
	expired := e.Token(t, identity.Caller{ID: "jane", Namespace: "acme", Type: identity.User, Expires: time.Now().Add(-time.Minute)})
	deep := strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65)
	for _, tt := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		detail                   string
	}{
		{"half", "POST", "/echo/call", `{"name":`, nil, 400, "invalid JSON at byte 8: unexpected end of JSON input"},
		{"no JSON", "POST", "/echo/call", `name=x`, nil, 400, "invalid JSON at byte 2"},
		{"trailing", "POST", "/echo/call", `{} {}`, nil, 400, "invalid JSON at byte 3: there is more after the first value"},
		{"trailing comma", "POST", "/echo/call", `{"a":1,}`, nil, 400, "invalid JSON at byte 8"},
		{"array", "POST", "/echo/call", `[1]`, nil, 400, "the body must be a JSON object, got an array"},
		{"byte order mark", "POST", "/echo/call", "\ufeff{}", nil, 400, "invalid JSON at byte 1"},
		{"twice", "POST", "/echo/call", `{"a":1,"a":2}`, nil, 400, `key "a" stands there twice`},
		{"deep", "POST", "/echo/call", deep, nil, 400, "deeper than 64 levels"},
		{"not UTF-8", "POST", "/echo/call", "{\"a\":\"\xff\"}", nil, 400, "not UTF-8"},
		{"object for string", "POST", "/echo/call", `{"name":{"a":1}}`, nil, 400, `field "name": want a string, got an object`},
		{"number for string", "POST", "/echo/call", `{"name":1}`, nil, 400, `field "name": want a string, got a number`},
		{"out of range", "POST", "/echo/call", `{"age":3000000000}`, nil, 400, `field "age": integer out of range`},
		{"fraction", "POST", "/echo/call", `{"age":1.5}`, nil, 400, `field "age": want an integer`},
		{"word for number", "GET", "/echo/call?age=x", ``, nil, 400, `field "age": want a number, got a string`},
		{"inside", "POST", "/echo/call", `{"inner":{"count":[]}}`, nil, 400, `field "inner.count": want a number, got an array`},
		{"no list", "POST", "/echo/call", `{"tags":"x"}`, nil, 400, `field "tags": want a list`},
		{"in a list", "POST", "/echo/call", `{"tags":["x",1]}`, nil, 400, `field "tags[1]": want a string`},
		{"in a map", "POST", "/echo/call", `{"labels":{"a":1}}`, nil, 400, `field "labels.a": want a string`},
		{"no base64", "POST", "/echo/call", `{"data":1}`, nil, 400, `field "data"`},
		{"large", "POST", "/echo/call", `{"name":"` + strings.Repeat("x", 70000) + `"}`, nil, 413, "body larger than 65536 bytes"},
		{"protobuf", "POST", "/echo/call", "x", []string{"Content-Type", "application/protobuf"}, 415, "send application/json"},
		{"compressed", "POST", "/echo/call", "x", []string{"Content-Encoding", "gzip"}, 415, "content encoding"},
		{"long URL", "GET", "/echo/call?name=" + strings.Repeat("x", 9000), "", nil, 414, "URL longer than"},
		{"dots", "GET", "/echo/%2e%2e/auth", "", nil, 400, "invalid path"},
		{"line break", "GET", "/echo/a%0ab", "", nil, 400, "invalid path"},
		{"unknown service", "POST", "/nothere/Call", `{}`, nil, 404, "service not found"},
		{"unknown endpoint", "POST", "/echo/Echo/Nothing", `{}`, nil, 404, "Echo.Nothing"},
		{"no token", "POST", "/echo/call", `{}`, []string{"Authorization", "", "Micro-Namespace", "acme"}, 401, "token missing"},
		{"expired", "POST", "/echo/call", `{}`, []string{"Authorization", "Bearer " + expired, "Micro-Namespace", "acme"}, 401, "token expired"},
		{"other namespace", "POST", "/echo/call", `{}`, []string{"Micro-Namespace", "other"}, 403, `no access to namespace "other"`},
		{"service's own error", "POST", "/echo/Echo/Fail", `{"id":"echo","code":418,"detail":"tea"}`, nil, 418, "tea"},
		{"core without account", "POST", "/auth/Auth/Inspect", `{}`, []string{"Authorization", ""}, 401, "an account is required"},
		{"what components call", "POST", "/auth/Components/Token", `{}`, nil, 404, "unknown service auth.Components"},
		{"platform, unknown path", "GET", "/platform/v1/nothing", "", nil, 404, "/platform/v1/nothing"},
		{"platform, other method", "PUT", "/platform/v1/accounts", "", nil, 405, "/platform/v1/accounts"},
		{"platform, no token", "POST", "/platform/v1/tokens/inspect", "{}", []string{"Authorization", ""}, 401, "an account is required"},
		{"platform, half", "POST", "/platform/v1/signup", `{"email":`, nil, 400, "invalid JSON at byte 9"},
		{"platform, wrong type", "POST", "/platform/v1/signup", `{"email":1}`, nil, 400, "email"},
		{"platform, large for no account", "POST", "/platform/v1/signup", strings.Repeat("x", 20000), []string{"Authorization", ""}, 413, "body larger"},
		{"platform, large", "POST", "/platform/v1/signup", strings.Repeat("x", 70000), nil, 413, "body larger"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, header, body := e.do(tt.method, tt.path, tt.body, tt.headers...)
			var got errors.Error
			if err := json.Unmarshal([]byte(body), &got); err != nil || status != tt.status || int(got.HTTP) != status || !strings.Contains(got.Detail, tt.detail) {
				t.Fatalf("%s %s = %d %s, want %d with %q", tt.method, tt.path, status, body, tt.status, tt.detail)
			}
			if header.Get("X-Request-Id") == "" || header.Get("Access-Control-Allow-Origin") == "" || header.Get("Content-Type") != "application/json" {
				t.Errorf("headers %v", header)
			}
		})
	}
}

// TestAnswer shows fixed answers, and how a service's comes back.
func TestAnswer(t *testing.T) {
	t.Parallel()
	e := start(t)
	t.Run("keys in order, nothing escaped", func(t *testing.T) {
		status, header, body := e.do("POST", "/echo/call", `{"name":"<b>"}`, "X-Mine", "a", "Cookie", "c=d", "X-Request-Id", "mine")
		if status != 200 || !strings.HasPrefix(body, `{"count":"1","metadata":{`) || !strings.Contains(body, `"sent":{"name":"<b>"}`) ||
			strings.HasSuffix(body, "\n") || header.Get("X-Request-Id") != "mine" {
			t.Errorf("%d %s %v", status, body, header)
		}
		for _, want := range []string{`"x-mine":"a"`, `"method":"POST"`, `"url":"/echo/call"`, `"micro-namespace":"acme"`, `"micro-request-id":"mine"`} {
			if !strings.Contains(body, want) {
				t.Errorf("the service did not see %s: %s", want, body)
			}
		}
		if strings.Contains(body, "cookie") {
			t.Errorf("the service saw a cookie: %s", body)
		}
	})
	for _, tt := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/", 200, `{"version": "`},
		{"GET", "/favicon.ico", 200, ""},
		{"OPTIONS", "/echo/call", 200, ""},
		{"GET", "/platform/v1/health", 200, `"status":"ok"`},
		{"GET", "/platform/v1/openapi.json", 200, `"/platform/v1/signup/complete"`},
		{"POST", "/platform/v1/tokens/inspect", 200, `"issuer":"acme"`},
		{"POST", "/auth/Auth/Inspect", 200, `"issuer":"acme"`},
		{"HEAD", "/echo/call", 200, ""},
	} {
		if status, _, body := e.do(tt.method, tt.path, ""); status != tt.status || !strings.Contains(body, tt.body) {
			t.Errorf("%s %s = %d %s, want %d %s", tt.method, tt.path, status, body, tt.status, tt.body)
		}
	}
	for path, want := range map[string]string{"//echo//call": "/echo/call", "/echo/./call?a=1": "/echo/call?a=1", "/echo/call/.": "/echo/call"} {
		if status, header, _ := e.do("GET", path, ""); status != 301 || header.Get("Location") != want || header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("%s = %d %s", path, status, header.Get("Location"))
		}
	}
}

// TestNamespaceOfHost shows that a host name says the namespace of anonymous
// calls, and of those only.
func TestNamespaceOfHost(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.Public("acme")
	e.until(func() bool {
		status, _, _ := e.do("GET", "/echo/call", "", "Authorization", "", "Host", "acme.example.com:80")
		return status == http.StatusOK
	})
	if status, _, _ := e.do("GET", "/echo/call", "", "Host", "other.example.com"); status != http.StatusForbidden {
		t.Errorf("another's host with a token = %d", status)
	}
}

// TestCookie shows that a cookie counts for pages of the edge's own origin only.
func TestCookie(t *testing.T) {
	t.Parallel()
	e := start(t)
	for _, tt := range []struct {
		name, header, value string
		status              int
	}{
		{"same origin", "Sec-Fetch-Site", "same-origin", 200},
		{"typed", "Sec-Fetch-Site", "none", 200},
		{"own origin", "Origin", e.url, 200},
		{"other site", "Sec-Fetch-Site", "cross-site", 401},
		{"sibling site", "Sec-Fetch-Site", "same-site", 401},
		{"other origin", "Origin", "http://evil.example", 401},
		{"no word of it", "X-Other", "1", 401},
	} {
		status, _, body := e.do("POST", "/auth/Auth/Inspect", "", "Authorization", "", "Cookie", "micro-token="+e.token, tt.header, tt.value)
		if status != tt.status {
			t.Errorf("%s = %d %s, want %d", tt.name, status, body, tt.status)
		}
	}
}

// TestTrustedProxy shows whom the platform believes to be calling behind a proxy
// that the operator trusts, and that others are not believed.
func TestTrustedProxy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, trusted, forwarded, want string }{
		{"trusted", "127.0.0.0/8,10.0.0.0/8", "198.51.100.7, 203.0.113.9, 10.0.0.1", "203.0.113.9"},
		{"trusted, says nothing", "127.0.0.0/8", "", "127.0.0.1"},
		{"not trusted", "10.0.0.0/8", "203.0.113.9", "127.0.0.1"},
		{"nobody is trusted", "", "203.0.113.9", "127.0.0.1"},
	} {
		e := startWith(t, map[string]string{"MICRO_GATEWAY_TRUSTED_PROXIES": tt.trusted})
		_, _, body := e.do("POST", "/auth/Auth/Inspect", "{}", "X-Forwarded-For", tt.forwarded, "Micro-Client-Address", "192.0.2.1")
		var rsp struct {
			Account struct {
				Metadata map[string]string `json:"metadata"`
			} `json:"account"`
		}
		if err := json.Unmarshal([]byte(body), &rsp); err != nil {
			t.Fatal(body, err)
		}
		if got := rsp.Account.Metadata["micro-client-address"]; got != tt.want {
			t.Errorf("%s: the platform sees %q, want %s", tt.name, got, tt.want)
		}
	}
}
