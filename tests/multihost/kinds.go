package multihost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	storepb "github.com/micro/platform/proto/store"
)

// Tenant is somebody whose calls are made.
type Tenant struct {
	Token string

	mu    sync.Mutex
	acked []string // keys of records whose writes were acknowledged
	run   string   // before every key
}

// platformKinds are calls of the platform's own services, which with those of the
// tenant's service are about 140 a second.
func (x *Tenant) platformKinds() []Kind {
	return []Kind{
		{"store write, gRPC", true, 25 * time.Millisecond, callTime, x.write},
		{"registry list, HTTP", false, 25 * time.Millisecond, callTime, x.list},
	}
}

// callTime is how long a client waits for a call that takes milliseconds. It is
// long: what is measured is calls that are lost, on a machine that may be busy.
// A host that is gone is found out by the connection to it.
const callTime = 10 * time.Second

func (x *Tenant) authorized(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+x.Token)
}

// write writes a record of its own.
func (x *Tenant) write(ctx context.Context, e *Edge, n int) error {
	key := fmt.Sprintf("%s/%06d", x.run, n)
	_, err := storepb.NewStoreClient(e.GRPC).Write(x.authorized(ctx), &storepb.WriteRequest{Record: &storepb.Record{Key: key, Value: []byte(key)}}, grpc.WaitForReady(false))
	if err == nil {
		x.mu.Lock()
		x.acked = append(x.acked, key)
		x.mu.Unlock()
	}
	return err
}

func (x *Tenant) list(ctx context.Context, e *Edge, _ int) error {
	_, err := x.http(ctx, e.HTTP, http.MethodGet, e.API, "/platform/v1/registry", "")
	return err
}

// http makes a request and answers the body.
func (x *Tenant) http(ctx context.Context, c *http.Client, method, api, path, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+api+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+x.Token)
	req.Header.Set("Content-Type", "application/json")
	rsp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer rsp.Body.Close()
	answer, err := io.ReadAll(rsp.Body)
	if rsp.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%s: %s", rsp.Status, answer))
	}
	return string(answer), err
}

// lost answers which acknowledged writes are not there.
func (x *Tenant) lost(ctx context.Context, e *Edge) ([]string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	there := map[string]bool{}
	for after := ""; ; {
		found, err := storepb.NewStoreClient(e.GRPC).Read(x.authorized(ctx), &storepb.ReadRequest{Key: x.run + "/", Options: &storepb.ReadOptions{Prefix: true, Limit: 500, After: after}})
		if err != nil {
			return nil, err
		}
		if len(found.GetRecords()) == 0 {
			break
		}
		for _, r := range found.GetRecords() {
			there[r.GetKey()] = true
			after = r.GetKey()
		}
	}
	var lost []string
	for _, key := range x.acked {
		if !there[key] {
			lost = append(lost, key)
		}
	}
	return lost, nil
}
