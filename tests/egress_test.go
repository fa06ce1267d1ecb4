package tests

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/micro/platform/internal/porttest"
)

// TestEgress goes out of a namespace by the proxy that services use which have no
// other way: who may, where to, that every byte is counted, and that a suspension
// ends what is open.
func TestEgress(t *testing.T) {
	t.Parallel()
	port, err := porttest.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	egress := fmt.Sprintf("127.0.0.1:%d", port)
	p := start(t, false, "MICRO_PROXY_EGRESS_ADDRESS="+egress, "MICRO_PROXY_EGRESS_OPEN=127.0.0.2/32", "MICRO_USAGE_SAMPLE=1s")
	jane := person(t, p, "jane")
	root, err := p.Person(t.Context(), "root")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, root, "logged in", "micro login --username admin --password micro")
	conn, err := grpc.NewClient(p.Proxy, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	v := &victim{platform: p}
	self := caller{"jane", v.token(t, jane), conn}
	generate := rpcNamed(t, "/auth.Auth/Generate")
	for _, account := range []struct{ id, kind string }{{"web", "service"}, {"joe", "user"}} {
		if _, err := self.call(t.Context(), generate, "", generate.fields(t, fmt.Sprintf(`{"id":%q,"type":%q,"secret":"secret horse","options":{"namespace":"jane-space"}}`, account.id, account.kind))); err != nil {
			t.Fatal(err)
		}
	}

	// The internet is a host on the one address that is open here.
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	internet := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Header.Get("Proxy-Authorization") != "" {
			t.Error("the password of a service goes out")
		}
		fmt.Fprintf(w, "got %d bytes", len(b))
	}))
	internet.Listener.Close()
	internet.Listener = listener
	internet.StartTLS()
	t.Cleanup(internet.Close)
	plain := httptest.NewServer(internet.Config.Handler) // on 127.0.0.1, which is inside
	t.Cleanup(plain.Close)
	began := make(chan struct{}, 1)
	silent := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush() //nolint:errcheck // the client sees it
		began <- struct{}{}
		<-r.Context().Done()
	}))
	silent.Listener.Close()
	if silent.Listener, err = net.Listen("tcp", "127.0.0.2:0"); err != nil {
		t.Fatal(err)
	}
	silent.Start()
	t.Cleanup(silent.Close)

	through := func(user string) *http.Client {
		proxy := &url.URL{Scheme: "http", Host: egress}
		if user != "" {
			proxy.User = url.UserPassword(user, "secret horse")
		}
		tr := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // a test's own
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr, Timeout: settle}
	}
	post := func(c *http.Client, url string, n int) string {
		rsp, err := c.Post(url, "text/plain", strings.NewReader(strings.Repeat("x", n))) //nolint:noctx // the client has a time
		if err != nil {
			return err.Error()
		}
		defer rsp.Body.Close()
		b, _ := io.ReadAll(rsp.Body)
		return rsp.Status + " " + string(b)
	}
	if got := post(through("jane-space/web"), internet.URL, 1_000_000); got != "200 OK got 1000000 bytes" {
		t.Fatal(got)
	}
	for _, tt := range []struct{ name, user, url, want string }{
		{"nobody", "", internet.URL, "Proxy Authentication Required"},
		{"an unknown account", "jane-space/ghost", internet.URL, "Proxy Authentication Required"},
		{"an account of another namespace", "micro/web", internet.URL, "Proxy Authentication Required"},
		{"a person", "jane-space/joe", internet.URL, "Forbidden"},
		{"inside", "jane-space/web", strings.Replace(plain.URL, "http:", "https:", 1), "Forbidden"},
		{"inside, by plain HTTP", "jane-space/web", plain.URL, "403 Forbidden"},
		{"inside, by name", "jane-space/web", strings.Replace(plain.URL, "127.0.0.1", "localhost", 1), "403 Forbidden"},
		{"nowhere", "jane-space/web", "http://127.0.0.2:1", "502 Bad Gateway"},
		{"mail", "jane-space/web", "http://127.0.0.2:25", "403 Forbidden"},
	} {
		if got := post(through(tt.user), tt.url, 1); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	for end := time.Now().Add(settle); ; <-time.After(100 * time.Millisecond) {
		if sent := usageOf(t, jane, "").Egress; sent > 1_000_000 && sent < 1_100_000 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d bytes are counted that went out, want a megabyte", sent)
		}
	}

	// What a plain request costs is counted while it is open, headers included.
	before := usageOf(t, jane, "").Egress
	ended := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, silent.URL, nil)
		if err != nil {
			ended <- err
			return
		}
		req.Header.Set("X-Large", strings.Repeat("x", 10_000))
		client := through("jane-space/web")
		client.Timeout = 0
		rsp, err := client.Do(req)
		if err == nil {
			defer rsp.Body.Close()
			_, err = io.Copy(io.Discard, rsp.Body)
		}
		ended <- err
	}()
	<-began
	for end := time.Now().Add(3 * settle); usageOf(t, jane, "").Egress-before < 10_000; <-time.After(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a request that is open is not counted")
		}
	}

	// What is open ends with the namespace.
	open, err := net.Dial("tcp", egress) //nolint:noctx // on this host
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { open.Close() })
	req, err := http.NewRequest(http.MethodConnect, "", nil) //nolint:noctx // as above
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.URL = listener.Addr().String(), &url.URL{Host: listener.Addr().String()}
	basic := http.Request{Header: http.Header{}}
	basic.SetBasicAuth("jane-space/web", "secret horse")
	req.Header.Set("Proxy-Authorization", basic.Header.Get("Authorization"))
	if err := req.Write(open); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(open)
	if rsp, err := http.ReadResponse(r, req); err != nil || rsp.StatusCode != http.StatusOK {
		t.Fatal(rsp, err)
	}
	expect(t, root, "suspended", "micro admin suspend jane-space --reason trial")
	since := time.Now()
	if err := open.SetReadDeadline(since.Add(settle)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("an open tunnel of a suspended namespace: %v", err)
	}
	t.Logf("it ended %v after the suspension", time.Since(since))
	select {
	case err := <-ended:
		if err == nil {
			t.Error("an open request of a suspended namespace ended well")
		}
	case <-time.After(settle):
		t.Error("an open request of a suspended namespace goes on")
	}
	if got := post(through("jane-space/web"), internet.URL, 1); !strings.Contains(got, "Forbidden") {
		t.Errorf("a suspended namespace: %s", got)
	}
}
