package tests

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/proxy/edge/edgetest"
)

// TestLimitHeaders meets limits that components watch over, through both edges:
// the answer names the limit beside the error, and when to try again.
func TestLimitHeaders(t *testing.T) {
	t.Parallel()
	catalogue, err := os.ReadFile("../billing/plans/plans.yaml")
	if err != nil {
		t.Fatal(err)
	}
	small := strings.NewReplacer("keys: 100000\n", "keys: 1\n", "topics: 20\n", "topics: 1\n").Replace(string(catalogue))
	file := filepath.Join(t.TempDir(), "plans.yaml")
	if err := os.WriteFile(file, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, false, "MICRO_NAMESPACES_PLANS="+file, "MICRO_NAMESPACES_PLAN=free")
	jane, err := p.Person(t.Context(), "jane")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := jane.Signup(t.Context(), "correct horse", "acme"); err != nil {
		t.Fatal(err, out)
	}
	out, err := sh(t.Context(), jane, "micro user token && micro store write --table a one 1 && micro events publish one 1")
	if err != nil {
		t.Fatal(err, out)
	}
	token, _, _ := strings.Cut(out, "\n")
	conn, err := grpc.NewClient(p.Proxy, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	for _, tt := range []struct {
		limit, api, method, body string
		most                     int
	}{
		{"keys", "store/Store/Write", "/store.Store/Write", `{"record":{"key":"two","value":"Mg=="},"options":{"table":"a"}}`, 1},
		{"topics", "events/Stream/Publish", "/events.Stream/Publish", `{"topic":"two","payload":"Mg=="}`, 1},
	} {
		policy, state, wait := fmt.Sprintf("%q;q=%d", tt.limit, tt.most), fmt.Sprintf("%q;r=0", tt.limit), "60"
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.API+"/"+tt.api, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		rsp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(rsp.Body)
		rsp.Body.Close()
		if h := rsp.Header; rsp.StatusCode != http.StatusTooManyRequests || h.Get("RateLimit-Policy") != policy || h.Get("RateLimit") != state || h.Get("Retry-After") != wait {
			t.Errorf("%s over HTTP: %d %v %s", tt.limit, rsp.StatusCode, h, body)
		}
		var answer []byte
		message, trailer := []byte(tt.body), metadata.MD{}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
		err = conn.Invoke(ctx, tt.method, &message, &answer, edgetest.Codec(), grpc.Trailer(&trailer))
		if err == nil || strings.Join(trailer.Get("ratelimit-policy"), "|") != policy || strings.Join(trailer.Get("ratelimit"), "|") != state || strings.Join(trailer.Get("retry-after"), "|") != wait {
			t.Errorf("%s over gRPC: %v %v", tt.limit, err, trailer)
		}
	}
}
