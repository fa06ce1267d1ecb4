package config

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	configpb "github.com/micro/platform/proto/config"
)

// retryMin and retryMax bound the wait before a lost watch is made again.
const (
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
)

// watched is all settings as they were last heard of, with secrets or without.
type watched struct {
	client  client.Client
	secrets bool

	mu       sync.Mutex
	version  int64
	known    bool
	document any
	err      error         // why nothing is known
	changed  chan struct{} // closed at the next change, or failure while nothing is known
}

func newWatched(c client.Client, secrets bool) *watched {
	return &watched{client: c, secrets: secrets, changed: make(chan struct{})}
}

// run watches until ctx ends.
func (w *watched) run(ctx context.Context) {
	wait := retryMin
	for ctx.Err() == nil {
		heard, err := w.watch(ctx)
		if heard {
			wait = retryMin
		}
		w.fail(err)
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait)): // spread out what many do at once
		}
		wait = min(2*wait, retryMax)
	}
}

func (w *watched) watch(ctx context.Context) (heard bool, err error) {
	req := w.client.NewRequest(service, "Config.Watch", &configpb.WatchRequest{Options: &configpb.Options{Secret: w.secrets}})
	s, err := w.client.Stream(ctx, req, client.WithAuthToken())
	if err != nil {
		return false, err
	}
	defer s.Close()
	if err := s.CloseSend(); err != nil {
		return false, err
	}
	for {
		rsp := &configpb.WatchResponse{}
		if err := s.RecvMsg(rsp); err != nil {
			return heard, err
		}
		heard = true
		w.learn(rsp.GetVersion(), rsp.GetValue().GetData())
	}
}

// learn takes in a version, unless a newer one is known.
func (w *watched) learn(version int64, data string) {
	d := json.NewDecoder(strings.NewReader(data))
	d.UseNumber()
	var document any
	err := d.Decode(&document)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || w.known && version < w.version {
		return
	}
	w.known, w.version, w.document, w.err = true, version, document, nil
	w.tell()
}

// fail remembers why nothing is known. What is known stays.
func (w *watched) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.known {
		w.err = err
		w.tell()
	}
}

// tell wakes those who wait. The caller holds mu.
func (w *watched) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *watched) changes() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// value answers what is at a path. It waits for the first answer of the
// platform, and then never again.
func (w *watched) value(ctx context.Context, path string) Value {
	for {
		w.mu.Lock()
		known, document, err, changed := w.known, w.document, w.err, w.changed
		w.mu.Unlock()
		switch {
		case known:
			return at(document, path)
		case err != nil:
			return Value{err: errors.FromError(err)}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Value{err: errors.New(codes.Unavailable, "the settings have not come yet").From("go.micro.client").Because(ctx.Err())}
		}
	}
}

// refresh makes sure that a version is known, if the settings are at all.
func (w *watched) refresh(ctx context.Context, version int64) {
	w.mu.Lock()
	wanted := w.known && w.version < version
	w.mu.Unlock()
	if !wanted {
		return
	}
	rsp := &configpb.GetResponse{}
	req := w.client.NewRequest(service, "Config.Get", &configpb.GetRequest{Options: &configpb.Options{Secret: w.secrets}})
	if err := w.client.Call(ctx, req, rsp, client.WithAuthToken()); err != nil {
		return // the watch brings it
	}
	w.learn(rsp.GetVersion(), rsp.GetValue().GetData())
}

func at(document any, path string) Value {
	if path == "" {
		return Value{value: document}
	}
	for key := range strings.SplitSeq(path, ".") {
		node, ok := document.(map[string]any)
		if !ok {
			return Value{}
		}
		document = node[key]
	}
	return Value{value: document}
}
