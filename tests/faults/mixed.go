package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	storepb "github.com/micro/platform/proto/store"
)

// steady is the table and the key of the record that the steady load reads.
const steady = "steady"

func readSteady() *storepb.ReadRequest {
	return &storepb.ReadRequest{Key: steady, Options: &storepb.ReadOptions{Table: steady}}
}

// newMixed makes a steady load of 200 calls a second: 70 in a hundred read
// records, by turns of all proxies and all gateways, the others are numbered
// messages of loads, which it slows down for that.
func newMixed(s *Site, loads []*Load) *Traffic {
	records := storepb.NewStoreClient(s.conn)
	gateways := &balanced{at: instances(s.Platform, "gateway", s.Platform.API), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	x := &Traffic{site: s, counts: map[string]*counted{}, kinds: map[string]kind{
		"read, gRPC": {func(ctx context.Context, _ int) error {
			_, err := records.Read(ctx, readSteady())
			return err
		}, 8, 110 * time.Millisecond},
		"read, HTTP": {func(ctx context.Context, _ int) error {
			token, err := s.accessToken(ctx)
			if err != nil {
				return err
			}
			return gateways.get(ctx, "/platform/v1/store/tables/"+steady+"/records/"+steady, token)
		}, 8, 110 * time.Millisecond},
		"slow upload": {func(ctx context.Context, n int) error {
			return slowly(ctx, storepb.NewBlobStoreClient(s.conn), fmt.Sprintf("steady/%d", n%slots))
		}, 1, time.Second},
	}}
	for _, l := range loads {
		name := l.Ledgers[0].name
		l.Every = time.Duration(l.Workers) * 60 * time.Millisecond
		send := l.Send
		l.Send = func(ctx context.Context, id ID) error {
			began := time.Now()
			err := send(ctx, id)
			if ctx.Err() == nil || !errors.Is(context.Cause(ctx), context.Canceled) { // the load itself ends
				x.note(name, time.Since(began), err)
			}
			return err
		}
	}
	return x
}

// balanced is a client of several gateways, which asks another one when the first
// does not take a connection.
type balanced struct {
	at     []string
	client *http.Client
	turn   atomic.Uint64
}

func (b *balanced) get(ctx context.Context, path, token string) error {
	turn := b.turn.Add(1)
	var err error
	for i := range b.at {
		at := b.at[(turn+uint64(i))%uint64(len(b.at))]
		var op *net.OpError
		if err = b.once(ctx, "http://"+at+path, token); !errors.As(err, &op) || op.Op != "dial" {
			return err
		}
	}
	return err
}

func (b *balanced) once(ctx context.Context, url, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	rsp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	text, err := io.ReadAll(rsp.Body)
	if err == nil && rsp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", rsp.Status, text)
	}
	return err
}
