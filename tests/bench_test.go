package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/micro/platform/tests/platform"
	"github.com/micro/platform/tests/platform/platformtest"
)

// BenchmarkReady is the start of a server on a warm data directory, and its
// clean stop.
func BenchmarkReady(b *testing.B) {
	p := startBench(b)
	var stops time.Duration
	for b.Loop() {
		b.StopTimer()
		stops += p.Stop()
		b.StartTimer()
		if err := p.Restart(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(stops.Seconds()/float64(b.N), "s/stop")
}

// BenchmarkCall compares one call made to the container directly, through the
// gRPC edge and through the HTTP edge. The ways take turns, so that all see the
// same machine; each figure is a median.
func BenchmarkCall(b *testing.B) {
	p := startBench(b)
	alice, err := p.Person(b.Context(), "alice")
	if err != nil {
		b.Fatal(err)
	}
	if out, err := alice.Signup(b.Context(), "correct horse battery staple", "alice-space"); err != nil {
		b.Fatal(err, out)
	}
	must(b, alice, "micro new helloworld && micro run ./helloworld")
	token := strings.TrimSpace(must(b, alice, "micro user token"))
	ways := []struct {
		name  string
		call  func() error
		times []time.Duration
	}{
		{name: "direct", call: overGRPC(b, nodeAddress(b, alice), token)},
		{name: "proxy", call: overGRPC(b, p.Proxy, token)},
		{name: "gateway", call: func() error { return overHTTP(p.API, token) }},
	}
	for b.Loop() {
		for i := range ways {
			began := time.Now()
			if err := ways[i].call(); err != nil {
				b.Fatal(ways[i].name, err)
			}
			ways[i].times = append(ways[i].times, time.Since(began))
		}
	}
	for i := range ways {
		slices.Sort(ways[i].times)
		b.ReportMetric(float64(ways[i].times[len(ways[i].times)/2].Microseconds()), "µs/"+ways[i].name)
	}
}

// BenchmarkUpdate is micro update of a changed handler to the new answer.
func BenchmarkUpdate(b *testing.B) {
	p := startBench(b)
	alice, err := p.Person(b.Context(), "alice")
	if err != nil {
		b.Fatal(err)
	}
	if out, err := alice.Signup(b.Context(), "correct horse battery staple", "alice-space"); err != nil {
		b.Fatal(err, out)
	}
	must(b, alice, "micro new helloworld && micro run ./helloworld")
	handler := filepath.Join(alice.Home, "helloworld", "handler", "helloworld.go")
	text, err := os.ReadFile(handler)
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; b.Loop(); n++ {
		greeting := fmt.Sprintf("Greeting %d for ", n)
		changed := strings.ReplaceAll(string(text), `"Hello "`, fmt.Sprintf("%q", greeting))
		if err := os.WriteFile(handler, []byte(changed), 0o644); err != nil {
			b.Fatal(err)
		}
		if out := must(b, alice, "micro update ./helloworld >/dev/null && micro helloworld call --name=Jane"); !strings.Contains(out, greeting) {
			b.Fatalf("the old one answers: %s", out)
		}
	}
}

func startBench(b *testing.B) *platform.Platform {
	b.Helper()
	return platformtest.Start(b, platform.Config{Micro: micro})
}

func must(b *testing.B, x *platform.Person, line string) string {
	b.Helper()
	out, err := sh(b.Context(), x, line)
	if err != nil {
		b.Fatalf("%s: %v: %s", line, err, out)
	}
	return out
}

func nodeAddress(b *testing.B, x *platform.Person) string {
	b.Helper()
	var versions []struct {
		Nodes []struct {
			Address string `json:"address"`
		} `json:"nodes"`
	}
	out := must(b, x, "micro get service -o json helloworld")
	if err := json.Unmarshal([]byte(out), &versions); err != nil || len(versions) == 0 || len(versions[0].Nodes) == 0 {
		b.Fatalf("no node in %s (%v)", out, err)
	}
	return versions[0].Nodes[0].Address
}

func overGRPC(b *testing.B, address, token string) func() error {
	b.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return func() error { return platform.CallDirect(b.Context(), conn, token) }
}

func overHTTP(api, token string) error {
	req, err := http.NewRequest(http.MethodPost, "http://"+api+"/helloworld/Call", strings.NewReader(`{"name":"Jane"}`)) //nolint:noctx // a benchmark
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	var answer struct {
		Msg string `json:"msg"`
	}
	return json.NewDecoder(rsp.Body).Decode(&answer)
}
