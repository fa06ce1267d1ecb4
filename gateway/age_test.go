package gateway_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// TestOldConnections shows that the gateway ends a connection that is old with
// an answer, so that no request is lost.
func TestOldConnections(t *testing.T) {
	t.Parallel()
	e := startWith(t, map[string]string{"MICRO_GATEWAY_CONNECTION_AGE": "100ms"})
	var opened atomic.Int32
	transport := &http.Transport{MaxConnsPerHost: 1, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		opened.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for opened.Load() < 5 {
				req, err := http.NewRequestWithContext(ctx, "POST", e.url+"/echo/Echo/Call", http.NoBody)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+e.token)
				rsp, err := transport.RoundTrip(req)
				if err != nil {
					t.Errorf("a request failed on connection %d: %v", opened.Load(), err)
					return
				}
				io.Copy(io.Discard, rsp.Body) //nolint:errcheck // only the status counts
				rsp.Body.Close()
				if rsp.StatusCode != http.StatusOK {
					t.Errorf("a request on connection %d was answered with %s", opened.Load(), rsp.Status)
				}
			}
		})
	}
	all.Wait()
}
