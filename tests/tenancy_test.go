package tests

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/tests/platform"
)

// TestTenancy makes every RPC of every proto and every route of the REST API as
// somebody of another namespace and as nobody, with each way to name the
// victim's namespace and with the names of what the victim has. Nothing of the
// victim is read, nothing is changed, and what exists looks like what does not.
func TestTenancy(t *testing.T) {
	t.Parallel()
	p := start(t, false, "MICRO_PROXY_ANONYMOUS_RATE=0", "MICRO_GATEWAY_ANONYMOUS_RATE=0") // all of it comes from one address
	v := newVictim(t, p)
	mallory, nobody := v.somebody(t, "mallory"), caller{"nobody", "", v.conn}
	t.Run("every proto is tried", everyProto)
	t.Run("the victim sees it", v.sees)
	before := v.snapshot(t)
	for _, attacker := range []caller{mallory, nobody} {
		t.Run("RPCs as "+attacker.name, func(t *testing.T) {
			var wg sync.WaitGroup
			for _, r := range everyRPC() {
				wg.Go(func() { v.attack(t, attacker, r) })
			}
			wg.Wait()
		})
		t.Run("REST as "+attacker.name, func(t *testing.T) { v.attackREST(t, attacker) })
	}
	for r, was := range v.snapshot(t) {
		if was != before[r] {
			t.Errorf("the attacks changed what the victim sees by %s\nfrom %s\nto   %s", r, before[r], was)
		}
	}
}

// everyProto fails when a proto is not among those that this test imports.
func everyProto(t *testing.T) {
	dirs, err := filepath.Glob("../proto/*/*.proto")
	if err != nil || len(dirs) == 0 {
		t.Fatal(err)
	}
	tried := map[string]bool{"debug": true}
	for _, r := range everyRPC() {
		service, _ := r.endpoint()
		tried[service] = true
	}
	for _, file := range dirs {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if name := filepath.Base(filepath.Dir(file)); !tried[name] && strings.Contains(string(b), "\nservice ") {
			t.Errorf("proto/%s is not imported by tenancy_calls_test.go", name)
		}
	}
}

// victim is a namespace that has something of everything.
type victim struct {
	platform  *platform.Platform
	self      caller
	conn      *grpc.ClientConn
	namespace string
	// mark is in the victim's data and in no request of others.
	mark string
	// what others know the names of, and of what they do not have
	names, ghosts known
}

const ghost = "ghost-space" // a namespace that never was

// seeds is what the victim has, as calls. $N is the namespace, $M the mark, $B
// the mark in base64. What is called "ledger" attackers know the name of.
var seeds = []struct{ path, request string }{
	{"/auth.Auth/Generate", `{"id":"ledger","type":"user","secret":"correct horse","metadata":{"note":"$M"},"name":"ledger $M"}`},
	{"/auth.Auth/Generate", `{"id":"$M","type":"user","secret":"correct horse"}`},
	{"/auth.Rules/Create", `{"rule":{"id":"ledger","scope":"$M","resource":{"type":"service","name":"ledger","endpoint":"*"},"access":"GRANTED","priority":-1}}`},
	{"/auth.Rules/Create", `{"rule":{"id":"$M","scope":"*","resource":{"type":"service","name":"$M","endpoint":"*"},"access":"GRANTED","priority":-1}}`},
	{"/auth.Tokens/Create", `{"name":"ledger","grants":["$M:*:read"]}`},
	{"/registry.Registry/Register", `{"name":"ledger","version":"latest","nodes":[{"id":"ledger-1","address":"172.17.0.9:9","metadata":{"note":"$M"}}],"endpoints":[{"name":"Ledger.$M"}],"metadata":{"note":"$M"},"options":{"ttl":3600}}`},
	{"/registry.Registry/Register", `{"name":"$M","version":"latest","nodes":[{"id":"$M-1","address":"172.17.0.9:9"}],"options":{"ttl":3600}}`},
	{"/store.Store/Write", `{"record":{"key":"ledger","value":"$B"},"options":{"database":"$N","table":"ledger"}}`},
	{"/store.Store/Write", `{"record":{"key":"$M","value":"$B"},"options":{"database":"$N","table":"ledger"}}`},
	{"/store.Store/Write", `{"record":{"key":"$M","value":"$B"},"options":{"database":"$N","table":"$M"}}`},
	{"/store.BlobStore/Write", `{"key":"ledger","blob":"$B"}`},
	{"/store.BlobStore/Write", `{"key":"$M","blob":"$B"}`},
	{"/config.Config/Set", `{"path":"ledger","value":{"data":"{\"note\":\"$M\"}"}}`},
	{"/events.Stream/Publish", `{"topic":"ledger","payload":"$B"}`},
	{"/events.Stream/Publish", `{"topic":"$M","payload":"$B"}`},
	{"/broker.Broker/Publish", `{"topic":"ledger","message":{"body":"$B"}}`},
}

// newVictim signs somebody up and gives them something of everything that is
// served.
func newVictim(t *testing.T, p *platform.Platform) *victim {
	t.Helper()
	conn, err := grpc.NewClient(p.Proxy, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	v := &victim{platform: p, conn: conn, namespace: "alice-space", mark: "canary" + strings.ToLower(rand.Text()[:10])}
	alice := person(t, p, "alice")
	// Its build fails by a name that its source has: it is in status and logs.
	v.write(t, alice)
	v.self = caller{"alice", v.token(t, alice), conn}
	fillIn := strings.NewReplacer("$N", v.namespace, "$M", v.mark, "$B", base64.StdEncoding.EncodeToString([]byte(v.mark)))
	apiToken := ""
	here := v.fromContainers(t)
	for _, s := range seeds {
		r := rpcNamed(t, s.path)
		rsp, err := here.call(t.Context(), r, "", r.fields(t, fillIn.Replace(s.request)))
		if err != nil && errors.Code(err) != codes.Unimplemented {
			t.Fatalf("%s: %v", s.path, err)
		}
		if s.path == "/auth.Tokens/Create" {
			apiToken = in(t, rsp, "token", "id")
		}
	}
	session, err := v.self.call(t.Context(), rpcNamed(t, "/auth.Sessions/List"), "", rpcNamed(t, "/auth.Sessions/List").fields(t, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	v.names = known{
		"id": "ledger", "name": "ledger", "service": "ledger", "key": "ledger", "path": "ledger", "topic": "ledger", "table": "ledger",
		"version": "latest", "email": alice.Email, "account": "ledger", "secret": "wrong horse", "old_secret": "wrong horse", "new_secret": "stolen horse",
		"password": "stolen horse", "code": "AAAAAAAA", "type": "user", "group": "ledger", "queue": "ledger", "source": "ledger", "scope": "*",
		"endpoint": "Ledger.Call", "address": "127.0.0.1:10", "auth.Tokens/id": apiToken, "auth.Sessions/id": in(t, session, "sessions", "id"),
		"auth.Auth/id": alice.Email, "runtime.Runtime/type": "", "network.Network/address": "",
	}
	v.ghosts = known{}
	for field, name := range v.names {
		v.ghosts[field] = strings.NewReplacer("ledger", "spectre", "alice", "ghost", apiToken, strings.Repeat("x", len(apiToken))).Replace(name)
	}
	return v
}

// fromContainers is the victim where containers call, since nobody else may
// register.
func (v *victim) fromContainers(t *testing.T) caller {
	t.Helper()
	bridge, err := dockerhost.Gateway(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(v.platform.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(net.JoinHostPort(bridge.String(), port), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return caller{v.self.name, v.self.token, conn}
}

// write deploys a service of the victim that does not compile.
func (v *victim) write(t *testing.T, alice *platform.Person) {
	t.Helper()
	dir := filepath.Join(alice.Home, "ledger")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"go.mod": "module ledger\n\ngo 1.24\n", "main.go": "package main\n\nfunc main() { " + v.mark + "() }\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	refuse(t, alice, v.mark, "micro run ./ledger")
}

func (v *victim) token(t *testing.T, x *platform.Person) string {
	t.Helper()
	out, err := sh(t.Context(), x, "micro user token")
	if err != nil {
		t.Fatal(err, out)
	}
	return strings.TrimSpace(out)
}

// somebody signs up with a namespace of their own.
func (v *victim) somebody(t *testing.T, name string) caller {
	return caller{name, v.token(t, person(t, v.platform, name)), v.conn}
}

func rpcNamed(t *testing.T, path string) rpcOf {
	t.Helper()
	for _, r := range everyRPC() {
		if r.path == path {
			return r
		}
	}
	t.Fatalf("no RPC %s", path)
	return rpcOf{}
}

// in answers a text inside an answer; of lists, of their first element.
func in(t *testing.T, answer string, path ...string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	for _, name := range path {
		m, _ := v.(map[string]any)
		if v = m[name]; v == nil {
			t.Fatalf("%s lacks %v", answer, path)
		}
		if list, ok := v.([]any); ok {
			v = list[0]
		}
	}
	return v.(string)
}

// markless are RPCs that read and by which not even the victim sees the mark.
var markless = map[string]string{
	"/audit.Audit/Verify":                  "is a number and a hash",
	"/auth.Factors/Get":                    "is whether there is one",
	"/auth.Devices/Get":                    "no terminal waits",
	"/auth.Passkeys/List":                  "a passkey needs a browser: services/auth tests it",
	"/auth.Providers/Links":                "linking needs a browser: services/auth tests it",
	"/auth.Sessions/List":                  "logins have no text of a person's",
	"/namespaces.Namespaces/GetDeletion":   "nobody has deleted it",
	"/namespaces.Namespaces/ListDeletions": "is for operators",
	"/namespaces.Namespaces/Search":        "is for operators",
	"/namespaces.Namespaces/Get":           "a namespace has its owner's address only",
	"/namespaces.Plans/Limits":             "is numbers",
	"/namespaces.Namespaces/List":          "has names and roles only",
	"/namespaces.Members/List":             "has addresses and roles only",
	"/namespaces.Invites/List":             "nobody is invited",
	"/usage.Budgets/Get":                   "is numbers",
	"/namespaces.Plans/List":               "is the same for everybody",
	"/broker.Broker/Subscribe":             "tells what comes, not what was",
	"/config.Config/History":               "says who changed something, not what",
	"/events.Groups/List":                  "groups come with those who consume",
	"/store.Store/Databases":               "a namespace has one, of its name",
	"/store.Store/Usage":                   "is numbers",
	"/network.Network/Hosts":               "is for operators",
	"/network.Network/Status":              "is a number",
	"/registry.Registry/Watch":             "tells what comes, not what was",
	"/runtime.Build/Read":                  "no image was built",
	"/runtime.Runtime/Crashes":             "nothing has crashed",
	"/usage.Usage/Export":                  "has names of endpoints and figures",
	"/usage.Usage/Read":                    "is figures",
}

// sees shows that the attacks would show something: by every RPC that reads,
// the victim sees the mark. Who adds one adds to seeds.
func (v *victim) sees(t *testing.T) {
	for _, r := range everyRPC() {
		service, endpoint := r.endpoint()
		if !grants.Reads(service, endpoint) || grants.Allow(nil, service, endpoint) || markless[r.path] != "" {
			continue
		}
		answer, err := v.self.call(t.Context(), r, "", r.request(v.names, v.namespace))
		if errors.Code(err) != codes.Unimplemented && !strings.Contains(answer, v.mark) {
			t.Errorf("%s answers the victim %s, %v: nothing with the mark in it", r.path, answer, err)
		}
	}
}

// snapshot is what the victim sees of its own, by RPC.
func (v *victim) snapshot(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, r := range everyRPC() {
		service, endpoint := r.endpoint()
		if r.streams() || service == "usage" || service == "audit" || !grants.Reads(service, endpoint) || grants.Allow(nil, service, endpoint) {
			continue // usage counts the victim's own calls, the audit log tells of logins that failed
		}
		answer, err := v.self.call(t.Context(), r, "", r.request(v.names, v.namespace))
		out[r.path] = answer + detail(err)
	}
	return out
}

// incomparable are RPCs that answer differently each time.
var incomparable = map[string]string{
	"Auth/Token":                 "makes an address wait that has failed often",
	"Broker/Subscribe":           "tells what the attacker publishes meanwhile",
	"Debug/Stats":                "counts the calls of all",
	"Devices/Begin":              "makes up a code",
	"Factors/Enrol":              "makes an address wait that has failed often",
	"Passkeys/BeginLogin":        "makes up a challenge",
	"Passkeys/BeginRegistration": "makes an address wait that has failed often",
	"Passkeys/Remove":            "makes an address wait that has failed often",
	"Providers/BeginLink":        "makes an address wait that has failed often",
	"Namespaces/Create":          "says when it was made",
	"Namespaces/List":            "tells what the attacker has made meanwhile",
	"Passwords/BeginReset":       "says how long to wait before the next try",
	"Store/Databases":            "has what the attacker makes of its own meanwhile",
	"Signup/Begin":               "says how long to wait before the next try",
}

// attack makes an RPC with each way to name the victim.
func (v *victim) attack(t *testing.T, attacker caller, r rpcOf) {
	for _, way := range []struct {
		header, body string
		compare      bool // with the same about what never was
	}{
		{"", v.namespace, true}, {v.namespace, v.namespace, true}, {v.namespace, "", true}, {"micro", v.namespace, true},
		{"", "", false}, {"", "micro", false}, {"", "*", false}, {"", strings.ToUpper(v.namespace), false}, {"", v.namespace + " ", false},
		{"", "../" + v.namespace, false}, {"", url.PathEscape(v.namespace + "/"), false},
	} {
		answer, err := attacker.call(t.Context(), r, way.header, r.request(v.names, way.body))
		how := fmt.Sprintf("%s as %s, header %q, request %q", r.path, attacker.name, way.header, way.body)
		if strings.Contains(answer+detail(err), v.mark) {
			t.Errorf("%s: has the victim's mark: %s %v", how, answer, err)
		}
		if !way.compare || incomparable[strings.TrimLeft(r.path[strings.Index(r.path, "."):], ".")] != "" {
			continue
		}
		unreal := strings.NewReplacer(v.namespace, ghost).Replace
		other, otherErr := attacker.call(t.Context(), r, unreal(way.header), r.request(v.ghosts, unreal(way.body)))
		a, b := v.told(answer, err), v.told(other, otherErr)
		if a != b && r.streams() { // one may not have been waited for long enough: the machine is busy
			answer, err = attacker.callWithin(t.Context(), unaryWithin, r, way.header, r.request(v.names, way.body))
			other, otherErr = attacker.callWithin(t.Context(), unaryWithin, r, unreal(way.header), r.request(v.ghosts, unreal(way.body)))
			a, b = v.told(answer, err), v.told(other, otherErr)
		}
		if a != b {
			t.Errorf("%s:\nabout the victim's %s\nabout nobody's    %s", how, a, b)
		}
	}
}

// told is what an answer says, whoever it is about.
func (v *victim) told(answer string, err error) string {
	text := answer
	if err != nil {
		text = errors.Code(err).String() + ": " + detail(err)
	}
	for field, name := range v.names {
		if unreal := v.ghosts[field]; unreal != name && name != "" {
			text = strings.ReplaceAll(text, unreal, name)
		}
	}
	return strings.ReplaceAll(text, ghost, v.namespace)
}

// attackREST makes a request to every route of the REST API.
func (v *victim) attackREST(t *testing.T, attacker caller) {
	var wg sync.WaitGroup
	for _, r := range v.everyRoute(t) {
		wg.Go(func() {
			for _, way := range []struct{ header, named string }{{"", v.namespace}, {v.namespace, v.namespace}, {v.namespace, ""}, {"", "micro"}, {"", "*"}} {
				if _, answer := v.request(t, attacker, r, way.header, way.named); strings.Contains(answer, v.mark) {
					t.Errorf("%s %s as %s, header %q, namespace %q: has the victim's mark: %s", r.method, r.path, attacker.name, way.header, way.named, answer)
				}
			}
		})
	}
	wg.Wait()
}

func (v *victim) http(ctx context.Context, t *testing.T, c caller, method, path, header, body string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 4*streamWithin) // some routes are streams
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+v.platform.API+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if header != "" {
		req.Header.Set("Micro-Namespace", header)
	}
	req.Header.Set("Content-Type", "application/json")
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error() // a stream that says nothing
	}
	defer rsp.Body.Close()
	b, _ := io.ReadAll(rsp.Body) // what came before the time was up
	return rsp.StatusCode, string(b)
}
