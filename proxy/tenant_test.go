package proxy_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/redistest"
	namespacespb "github.com/micro/platform/proto/namespaces"
	"github.com/micro/platform/proxy/edge/edgetest"
)

// tenant is a namespace of its own with an echo service that everybody may call.
func (e *edge) tenant(t *testing.T) string {
	t.Helper()
	namespace := redistest.Namespace(t)
	e.Register(namespace, edgetest.NewService(t, "echo").Entry())
	e.Public(namespace)
	e.until(codes.OK, "/echo.Echo/Call", "micro-namespace", namespace)
	return namespace
}

// tell calls until a namespace's new state is known.
func (e *edge) tell(tenant *namespacespb.Tenant, want codes.Code, pairs ...string) {
	e.t.Helper()
	e.Tenant(tenant)
	e.until(want, "/echo.Echo/Call", pairs...)
}

// TestRates shows which limit a caller meets, and what it is told.
func TestRates(t *testing.T) {
	t.Parallel()
	e := start(t)
	for _, tt := range []struct {
		name   string
		limits map[string]int64
		caller func(namespace string) []string
		burst  int
		text   string
		policy string
	}{
		{"namespace", map[string]int64{"rate": 2, "burst": 20}, func(ns string) []string { return bearer(e.User(t, ns)) }, 20,
			`may make 2 calls a second, which is the limit "rate" of plan free: try again in a moment, or raise it with a larger plan`, `"rate";q=2;w=1`},
		{"account", map[string]int64{"account_rate": 5}, func(ns string) []string { return bearer(e.User(t, ns)) }, 5,
			`account "jane@`, `"account_rate";q=5;w=1`},
		{"API token", map[string]int64{"token_rate": 5}, func(ns string) []string {
			c := program("t"+ns, "*:*:write")
			c.Namespace = ns
			return bearer(e.APIToken(c))
		}, 5, `an API token may make 5 calls a second, which is the limit "token_rate"`, `"token_rate";q=5;w=1`},
		{"anonymous", map[string]int64{"rate": 10, "burst": 20}, func(ns string) []string { return []string{"micro-namespace", ns} }, 10,
			"callers without an account in namespace", `"anonymous_rate";q=5;w=1`},
		{"nothing", map[string]int64{"account_rate": 0}, func(ns string) []string { return bearer(e.User(t, ns)) }, 0, "may make 0 calls a second", `"account_rate";q=0;w=1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			namespace := e.tenant(t)
			pairs := tt.caller(namespace)
			e.Tenant(&namespacespb.Tenant{Namespace: namespace, Plan: "free", Limits: tt.limits})
			let := 0
			for end := time.Now().Add(settle); ; let++ {
				trailer, err := e.trailer("/echo.Echo/Call", pairs...)
				if err == nil && time.Now().Before(end) {
					continue
				}
				if errors.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), strings.ReplaceAll(tt.text, `"`, `\"`)) {
					t.Errorf("after %d calls: %v, want ResourceExhausted and %s", let, err, tt.text)
				}
				if got := strings.Join(trailer.Get("ratelimit-policy"), ""); got != tt.policy {
					t.Errorf("RateLimit-Policy is %s, want %s", got, tt.policy)
				}
				if name, _, _ := strings.Cut(tt.policy, ";"); !strings.HasPrefix(strings.Join(trailer.Get("ratelimit"), ""), name+";r=0;t=") || strings.Join(trailer.Get("retry-after"), "") == "" {
					t.Errorf("trailer %v", trailer)
				}
				break
			}
			if let < tt.burst {
				t.Errorf("%d calls were let in, want a burst of %d", let, tt.burst)
			}
		})
	}
}

// trailer makes a call and answers what stands beside its end, and its error.
func (e *edge) trailer(method string, pairs ...string) (metadata.MD, error) {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(e.t.Context(), pairs...), settle)
	defer cancel()
	var out []byte
	in, trailer := []byte("{}"), metadata.MD{}
	err := e.conn.Invoke(ctx, method, &in, &out, edgetest.Codec(), grpc.Trailer(&trailer))
	return trailer, err
}

// TestThrottles shows what becomes of a service that is stopped or held back,
// and that nothing becomes of the others.
func TestThrottles(t *testing.T) {
	t.Parallel()
	e := start(t)
	namespace := e.tenant(t)
	e.Register(namespace, edgetest.NewService(t, "other").Entry())
	user, anonymous := bearer(e.User(t, namespace)), []string{"micro-namespace", namespace}
	throttle := func(action namespacespb.Action) *namespacespb.Tenant {
		return &namespacespb.Tenant{Namespace: namespace, Plan: "local", Throttles: []*namespacespb.Throttle{{Service: "echo", Action: action, Reason: "the budget of 10 EUR is spent"}}}
	}
	e.tell(throttle(namespacespb.Action_STOP), codes.ResourceExhausted, user...)
	if _, err := e.trailer("/echo.Echo/Call", user...); !strings.Contains(err.Error(), "the budget of 10 EUR is spent") {
		t.Errorf("a member is told %v", err)
	}
	if _, err := e.trailer("/echo.Echo/Call", anonymous...); errors.Code(err) != codes.ResourceExhausted || strings.Contains(err.Error(), "budget") {
		t.Errorf("an anonymous caller is told %v", err)
	}
	if _, err := e.call("/other.Echo/Call", "{}", user...); err != nil {
		t.Errorf("another service: %v", err)
	}
	if _, err := e.trailer("/auth.Auth/Inspect", user...); errors.Code(err) == codes.ResourceExhausted {
		t.Errorf("the platform: %v", err)
	}
	e.tell(throttle(namespacespb.Action_SLOW), codes.OK, user...)
	refused := 0
	for range 50 {
		if _, err := e.trailer("/echo.Echo/Call", user...); errors.Code(err) == codes.ResourceExhausted {
			refused++
		}
	}
	if refused < 30 {
		t.Errorf("%d of 50 calls at once were refused, want all but about 10", refused)
	}
	e.tell(&namespacespb.Tenant{Namespace: namespace, Plan: "local"}, codes.OK, user...)
}

// TestNothingLeftToSpend shows that a quota or a budget of the whole namespace
// holds what it uses of the platform, too, and leaves it a way out.
func TestNothingLeftToSpend(t *testing.T) {
	t.Parallel()
	e := start(t)
	namespace := e.tenant(t)
	user := bearer(e.User(t, namespace))
	e.tell(&namespacespb.Tenant{Namespace: namespace, Plan: "local",
		Throttles: []*namespacespb.Throttle{{Action: namespacespb.Action_STOP, Reason: "the 10 calls a month of plan local are used up"}}}, codes.ResourceExhausted, user...)
	for method, held := range map[string]bool{
		"/store.Store/Write": true, "/store.Store/Read": true, "/store.BlobStore/Write": true, "/store.Store/Usage": false, "/store.Store/Delete": false,
		"/events.Stream/Publish": true, "/events.Store/Read": true, "/events.Topics/List": false, "/events.Topics/Delete": false,
		"/broker.Broker/Publish": true, "/broker.Broker/Subscribe": true,
		"/config.Config/Get": true, "/config.Config/Set": true, "/config.Config/Delete": false,
		"/runtime.Runtime/Create": true, "/runtime.Runtime/Update": true, "/runtime.Source/Upload": true, "/runtime.Runtime/Read": false, "/runtime.Runtime/Delete": false,
		"/auth.Auth/Inspect": false, "/auth.Rules/Create": false, "/namespaces.Plans/Limits": false, "/usage.Budgets/Set": false, "/audit.Audit/List": false,
		"/registry.Registry/GetService": false,
	} {
		_, err := e.trailer(method, user...)
		if got := errors.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "used up"); got != held {
			t.Errorf("%s: %v, want it held %v", method, err, held)
		}
	}
}

// TestSuspensionUnderLoad shows that a namespace is suspended at two edges
// within a second while they are busy, its open streams included, that only its
// members are told why, that others notice nothing, and that it is lifted as
// fast.
func TestSuspensionUnderLoad(t *testing.T) {
	t.Parallel()
	p := edgetest.New(t)
	edges := [2]*edge{startOn(t, p), startOn(t, p)} // as in two processes
	namespace, busy := edges[0].tenant(t), edges[0].tenant(t)
	user, anonymous, other := bearer(p.User(t, namespace)), []string{"micro-namespace", namespace}, bearer(p.User(t, busy))
	operator := append(bearer(p.User(t, "micro", "admin")), "micro-namespace", namespace)
	for _, e := range edges {
		e.until(codes.OK, "/echo.Echo/Call", user...)
		e.until(codes.OK, "/echo.Echo/Call", other...)
	}
	open := func(e *edge, pairs []string) grpc.ClientStream {
		s, err := e.conn.NewStream(metadata.AppendToOutgoingContext(t.Context(), pairs...), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/echo.Echo/Chat", edgetest.Codec())
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		if err := s.SendMsg([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(&got); err != nil {
			t.Fatal(err)
		}
		return s
	}
	streams := []grpc.ClientStream{open(edges[0], user), open(edges[1], user), open(edges[0], anonymous), open(edges[1], anonymous)}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			tick := time.NewTicker(8 * time.Millisecond) // 1000 calls a second, all together
			defer tick.Stop()
			for ctx.Err() == nil {
				if _, err := edges[i%2].call("/echo.Echo/Call", "{}", other...); err != nil && ctx.Err() == nil {
					t.Error("of another namespace: ", err)
				}
				<-tick.C
			}
		})
	}
	began := time.Now()
	p.Tenant(&namespacespb.Tenant{Namespace: namespace, Plan: "local", Suspension: &namespacespb.Suspension{Reason: "it sends spam", Since: began.Unix()}})
	for i, e := range edges {
		e.until(codes.PermissionDenied, "/echo.Echo/Call", user...)
		took := time.Since(began)
		if t.Logf("edge %d refuses after %s", i, took); took > time.Second {
			t.Errorf("edge %d refused after %s, want a second", i, took)
		}
	}
	for i, s := range streams {
		var got []byte
		err := s.RecvMsg(&got)
		if errors.Code(err) != codes.PermissionDenied || strings.Contains(err.Error(), "spam") != (i < 2) || time.Since(began) > time.Second {
			t.Errorf("stream %d ended after %s with %v", i, time.Since(began), err)
		}
	}
	for i, e := range edges {
		reason, err := e.refused("/echo.Echo/Call", user...)
		if reason != identity.Suspended || !strings.Contains(err.Error(), "it sends spam") {
			t.Errorf("edge %d tells a member %v (%s)", i, err, reason)
		}
		if reason, err := e.refused("/echo.Echo/Call", anonymous...); errors.Code(err) != codes.PermissionDenied || reason != "" || strings.Contains(err.Error(), "spam") {
			t.Errorf("edge %d tells an anonymous caller %v (%s)", i, err, reason)
		}
		if _, err := e.refused("/store.Store/Read", user...); errors.Code(err) != codes.PermissionDenied {
			t.Errorf("edge %d: the store answers %v", i, err)
		}
		if _, err := e.refused("/auth.Auth/Inspect", user...); errors.Code(err) == codes.PermissionDenied {
			t.Errorf("edge %d: auth answers %v, want that members can log in", i, err)
		}
		if _, err := e.call("/echo.Echo/Call", "{}", operator...); err != nil {
			t.Errorf("edge %d: an operator gets %v", i, err)
		}
	}
	began = time.Now()
	p.Tenant(&namespacespb.Tenant{Namespace: namespace, Plan: "local"})
	for i, e := range edges {
		e.until(codes.OK, "/echo.Echo/Call", user...)
		if took := time.Since(began); took > time.Second {
			t.Errorf("edge %d let in again after %s, want a second", i, took)
		}
	}
	stop()
	wg.Wait()
}

// TestDeleted shows what of a namespace is open that was deleted, and that an
// erased one shows no more than that.
func TestDeleted(t *testing.T) {
	t.Parallel()
	e := start(t)
	for _, tt := range []struct {
		state  namespacespb.State
		says   string
		open   []string
		closed []string
	}{
		{namespacespb.State_DELETING, "micro namespace undelete", []string{"/auth.Auth/Inspect", "/namespaces.Namespaces/GetDeletion", "/usage.Usage/Read", "/audit.Audit/List"}, []string{"/store.Store/Read", "/echo.Echo/Call"}},
		{namespacespb.State_ERASING, "is erased", []string{"/namespaces.Namespaces/GetDeletion"}, []string{"/auth.Auth/Inspect", "/store.Store/Read", "/usage.Usage/Read", "/audit.Audit/List", "/echo.Echo/Call"}},
		{namespacespb.State_ERASED, "is erased", []string{"/namespaces.Namespaces/GetDeletion"}, []string{"/auth.Auth/Inspect", "/echo.Echo/Call"}},
	} {
		namespace := e.tenant(t)
		user, anonymous := bearer(e.User(t, namespace)), []string{"micro-namespace", namespace}
		e.tell(&namespacespb.Tenant{Namespace: namespace, Plan: "local", Deleted: &namespacespb.Deleted{State: tt.state, Erase: time.Now().Unix()}}, codes.PermissionDenied, user...)
		for _, method := range tt.closed {
			reason, err := e.refused(method, user...)
			if reason != identity.Deleted || errors.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v: %s answers %v (%s)", tt.state, method, err, reason)
			}
		}
		for _, method := range tt.open {
			if reason, err := e.refused(method, user...); reason == identity.Deleted {
				t.Errorf("%v: %s answers %v, want that it is open", tt.state, method, err)
			}
		}
		if reason, err := e.refused("/echo.Echo/Call", anonymous...); errors.Code(err) != codes.PermissionDenied || reason != "" || strings.Contains(err.Error(), "erased") {
			t.Errorf("%v: an anonymous caller is told %v (%s)", tt.state, err, reason)
		}
		e.tell(&namespacespb.Tenant{Namespace: namespace, Plan: "local"}, codes.OK, user...)
	}
}
