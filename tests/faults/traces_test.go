package faults

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/auth"
	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/server"
	"github.com/micro/platform/internal/porttest"
	authpb "github.com/micro/platform/proto/auth"
	registrypb "github.com/micro/platform/proto/registry"
	storepb "github.com/micro/platform/proto/store"
	"github.com/micro/platform/tests/platform"
)

// Traced is a service on the framework that reads a record for each call, as a
// container calls the platform.
type Traced struct{ back client.Client }

// Call reads the record.
func (t *Traced) Call(ctx context.Context, req *storepb.ReadRequest, rsp *storepb.ReadResponse) error {
	return t.back.Call(ctx, t.back.NewRequest("store", "Store.Read", req), rsp, client.WithAuthToken())
}

// TestTraces shows that a call is one trace: from either edge to the databases,
// and through a service and where containers call to them, too.
func TestTraces(t *testing.T) {
	t.Parallel()
	c, err := platform.NewCollector()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	port, err := porttest.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	inside := fmt.Sprintf("127.0.0.1:%d", port)
	s, _ := site(t, platform.Config{TLS: true,
		Env: append(c.Env(), "MICRO_PROXY_CONTAINER_ADDRESS="+inside)})
	token, err := s.accessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.startTraced(t, inside)
	const strangers = "0123456789abcdef0123456789abcdef"
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token, "traceparent", "00-"+strangers+"-0123456789abcdef-01")
	for _, tt := range []struct {
		name string
		call func() error
		hops []string // "process: span"
	}{
		{"gRPC to Redis", func() error {
			_, err := storepb.NewStoreClient(s.conn).Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: "traced", Value: []byte("1")}})
			return err
		}, []string{"micro proxy: store.Store/Write", "micro store: store.Store/Write", "micro store: evalsha"}},
		{"HTTP to Postgres", func() error {
			return s.put(ctx, token, "/platform/v1/config/traced", `{"value": {"data": "1"}}`)
		}, []string{"micro config: config.Config/Set", "micro gateway: config.Config/Set", "micro gateway: PUT", "micro config: INSERT"}},
		{"gRPC to a service and back", func() error {
			return s.Client.Call(ctx, s.Client.NewRequest("traced", "Traced.Call", &storepb.ReadRequest{Key: "traced"}), &storepb.ReadResponse{}, client.WithAuthToken())
		}, []string{"micro proxy: traced.Traced/Call", "micro proxy: store.Store/Read", "micro store: store.Store/Read"}},
	} {
		// A service that was just registered is not found at once.
		for end := time.Now().Add(20 * time.Second); ; platform.Until(ctx, time.Now().Add(tryAgain)) {
			err := tt.call()
			if err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		if err := c.Wait(ctx, tt.hops...); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
	}
	if c.Knows(strangers) {
		t.Error("a stranger's trace goes on behind the edge")
	}
}

// startTraced runs the service Traced, which calls the platform where containers
// do.
func (s *Site) startTraced(t *testing.T, inside string) {
	t.Helper()
	conn, err := grpc.NewClient(inside, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	own := server.New("traced", slog.New(slog.DiscardHandler), auth.NewVerifier(authpb.NewKeysClient(conn)))
	if err := own.Handle(&Traced{client.New(conn, client.Options{Token: s.accessToken})}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go own.Serve(l) //nolint:errcheck // ends by Stop
	t.Cleanup(func() { own.Stop(context.Background()) })
	entry := &registrypb.Service{Name: "traced", Version: "latest", Endpoints: own.Endpoints(), Nodes: []*registrypb.Node{{Id: "traced-1", Address: l.Addr().String()}}}
	if err := s.Client.Call(t.Context(), s.Client.NewRequest("registry", "Registry.Register", entry), &registrypb.EmptyResponse{}, client.WithAuthToken()); err != nil {
		t.Fatal(err)
	}
}

// put makes a request of the REST API.
func (s *Site) put(ctx context.Context, token, path, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+s.Platform.API+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	if text, err := io.ReadAll(rsp.Body); err != nil || rsp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s, %w", rsp.Status, text, err)
	}
	return nil
}
