package tests

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
)

// TestTooLittle makes every RPC, and every request of the REST API, in a namespace
// with a token that has too little
// there: an API token for something else, and the login of a viewer. What the
// one does not grant and the other may not do is refused, and nothing changes
// (S1).
func TestTooLittle(t *testing.T) {
	t.Parallel()
	p := start(t, false, "MICRO_PROXY_ANONYMOUS_RATE=0")
	v := newVictim(t, p)
	before := v.snapshot(t)
	for _, tt := range []struct {
		caller
		may func(service, endpoint string) bool
	}{
		{v.narrow(t), func(service, endpoint string) bool { return grants.Allow(nil, service, endpoint) }},
		{v.viewer(t), grants.Viewer.May},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refused := 0
			var mu sync.Mutex
			var wg sync.WaitGroup
			for _, r := range everyRPC() {
				service, endpoint := r.endpoint()
				if tt.may(service, endpoint) {
					continue
				}
				wg.Go(func() {
					// A refusal ends a stream, though not at once.
					answer, err := tt.callWithin(t.Context(), unaryWithin, r, "", r.request(v.names, v.namespace))
					switch errors.Code(err) {
					case codes.PermissionDenied, codes.Unimplemented: // the latter for what edges do not serve
						mu.Lock()
						defer mu.Unlock()
						refused++
					default:
						t.Errorf("%s: %s, %v, want it refused", r.path, answer, err)
					}
				})
			}
			wg.Wait()
			if refused < 50 {
				t.Errorf("only %d RPCs were refused", refused)
			}
			v.routesRefuse(t, tt.caller, tt.may)
		})
	}
	for r, was := range v.snapshot(t) {
		if was != before[r] && r != "/auth.Tokens/List" && !strings.HasPrefix(r, "/namespaces.") && !strings.HasPrefix(r, "/auth.Accounts") && !strings.HasPrefix(r, "/audit.") {
			t.Errorf("the victim sees by %s\n%s, before\n%s", r, was, before[r])
		}
	}
}

// routesRefuse asks for everything over REST that a caller may not have.
func (v *victim) routesRefuse(t *testing.T, c caller, may func(service, endpoint string) bool) {
	t.Helper()
	refused := 0
	for _, r := range v.everyRoute(t) {
		if may(r.rpc.endpoint()) {
			continue
		}
		if status, answer := v.request(t, c, r, "", v.namespace); status != http.StatusForbidden {
			t.Errorf("%s %s: %d %s, want it forbidden", r.method, r.path, status, answer)
		}
		refused++
	}
	if refused < 30 {
		t.Errorf("only %d routes were tried", refused)
	}
}

// narrow is an API token of the victim's that grants next to nothing.
func (v *victim) narrow(t *testing.T) caller {
	t.Helper()
	r := rpcNamed(t, "/auth.Tokens/Create")
	rsp, err := v.self.call(t.Context(), r, "", r.fields(t, `{"name":"narrow","grants":["nothing:Nothing.Call:read"]}`))
	if err != nil {
		t.Fatal(err)
	}
	return caller{"a narrow API token", in(t, rsp, "secret"), v.conn}
}

// invitation answers the code that an invitation was mailed with.
func (v *victim) invitation(t *testing.T, email string) string {
	t.Helper()
	command := regexp.MustCompile(`micro namespace accept (\S+)`)
	for end := time.Now().Add(settle); time.Now().Before(end); {
		rsp, err := http.Get("http://" + v.platform.Inbox + "/messages?to=" + url.QueryEscape(email)) //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(rsp.Body)
		rsp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if m := command.FindStringSubmatch(strings.ReplaceAll(string(b), `\n`, " ")); m != nil {
			return m[1]
		}
	}
	t.Fatal("no invitation in the inbox")
	return ""
}

// viewer is a member of the victim's namespace who may look.
func (v *victim) viewer(t *testing.T) caller {
	t.Helper()
	const email = "victor@example.com"
	invite, accept, login := rpcNamed(t, "/namespaces.Invites/Create"), rpcNamed(t, "/namespaces.Invites/Accept"), rpcNamed(t, "/auth.Auth/Token")
	if _, err := v.self.call(t.Context(), invite, "", invite.fields(t, `{"email":"`+email+`","role":"viewer"}`)); err != nil {
		t.Fatal(err)
	}
	code := v.invitation(t, email)
	nobody := caller{"nobody", "", v.conn}
	if _, err := nobody.call(t.Context(), accept, "", accept.fields(t, `{"code":"`+code+`","password":"correct horse"}`)); err != nil {
		t.Fatal(err)
	}
	rsp, err := nobody.call(t.Context(), login, "", login.fields(t, `{"id":"`+email+`","secret":"correct horse","options":{"namespace":"`+v.namespace+`"}}`))
	if err != nil {
		t.Fatal(err)
	}
	return caller{"a viewer", in(t, rsp, "token", "access_token"), v.conn}
}
