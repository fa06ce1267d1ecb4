package gateway_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/micro/platform/proxy/edge/edgetest"
)

// BenchmarkCall compares a call to a service through the HTTP edge with one
// that goes there directly. They take turns, so that both see the same machine;
// what counts is the difference of the medians, which has to stay below a
// millisecond.
func BenchmarkCall(b *testing.B) {
	e := start(b)
	echo := edgetest.NewService(b, "direct")
	conn, err := grpc.NewClient("passthrough:///"+echo.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	const body = `{"name":"Jane"}`
	direct := func() error {
		in, out := []byte(body), []byte(nil)
		return conn.Invoke(b.Context(), "/direct.Echo/Call", &in, &out, edgetest.Codec())
	}
	through := func() error {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, e.url+"/echo/Echo/Call", strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+e.token)
		rsp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer rsp.Body.Close()
		_, err = io.Copy(io.Discard, rsp.Body)
		return err
	}
	var times [2][]time.Duration
	for b.Loop() {
		for i, call := range []func() error{direct, through} {
			began := time.Now()
			if err := call(); err != nil {
				b.Fatal(err)
			}
			times[i] = append(times[i], time.Since(began))
		}
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2].Microseconds())
	}
	b.ReportMetric(median(times[0]), "µs/direct")
	b.ReportMetric(median(times[1]), "µs/gateway")
}
