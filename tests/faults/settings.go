package faults

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/config"
	"github.com/micro/platform/framework/errors"
	configpb "github.com/micro/platform/proto/config"
	"github.com/micro/platform/tests/platform"
)

const (
	// slots is how many settings a worker writes in turn: a document is small.
	slots = 20
	// rekeyEvery is the time between two exchanges of the keys of secrets.
	rekeyEvery = 500 * time.Millisecond
	// heardWithin is how soon a service has heard of the last change.
	heardWithin = time.Second
)

// settingsLoad writes each message as a setting, those of odd workers as
// secrets, while the keys of secrets are exchanged again and again.
type settingsLoad struct {
	client client.Client
	root   string
	ledger *Ledger
	heard  *config.Config

	mu       sync.Mutex
	versions map[int64]ID // that were acknowledged
	reused   error        // a version was given to two changes
}

// Settings makes a load of the config below a path, until ctx ends.
func Settings(ctx context.Context, c client.Client, root string) *Load {
	s := &settingsLoad{client: c, root: root, ledger: NewLedger("config settings", false), heard: config.New(c), versions: map[int64]ID{}}
	context.AfterFunc(ctx, s.heard.Close)
	go func() {
		for platform.Until(ctx, time.Now().Add(rekeyEvery)) {
			s.rekey(ctx) //nolint:errcheck // Collect says whether it works
		}
	}()
	return &Load{Workers: 4, Every: 50 * time.Millisecond, Ledgers: []*Ledger{s.ledger}, Send: s.send, Collect: s.collect}
}

func (s *settingsLoad) path(worker int) string { return s.root + ".w" + strconv.Itoa(worker) }

func (s *settingsLoad) send(ctx context.Context, id ID) error {
	rsp := &configpb.SetResponse{}
	err := s.call(ctx, "Config.Set", &configpb.SetRequest{
		Path:  fmt.Sprintf("%s.s%d", s.path(id.Worker), id.N%slots),
		Value: &configpb.Value{Data: strconv.Itoa(id.N)}, Options: &configpb.Options{Secret: id.Worker%2 == 1},
	}, rsp)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, twice := s.versions[rsp.GetVersion()]; twice {
		s.reused = fmt.Errorf("version %d of the config was given to %v and to %v", rsp.GetVersion(), other, id)
	}
	s.versions[rsp.GetVersion()] = id
	return nil
}

// collect books of each slot what is there and, as done, what was there before.
func (s *settingsLoad) collect(ctx context.Context) error {
	s.mu.Lock()
	reused := s.reused
	s.mu.Unlock()
	if reused != nil {
		return reused
	}
	if err := s.rekey(ctx); err != nil {
		return fmt.Errorf("exchange the keys of secrets: %w", err)
	}
	rsp := &configpb.GetResponse{}
	err := s.call(ctx, "Config.Get", &configpb.GetRequest{Path: s.root, Options: &configpb.Options{Secret: true}}, rsp)
	if err != nil && errors.Code(err) != codes.NotFound { // which is: all is lost
		return err
	}
	var found map[string]map[string]int
	if err := json.Unmarshal([]byte(cmp.Or(rsp.GetValue().GetData(), "null")), &found); err != nil {
		return err
	}
	s.ledger.Recount()
	for worker := range found {
		w, err := strconv.Atoi(worker[1:])
		if err != nil {
			return err
		}
		for _, newest := range found[worker] {
			s.receive(w, newest)
		}
	}
	return s.check(ctx, rsp.GetValue().GetData())
}

func (s *settingsLoad) receive(worker, newest int) {
	s.ledger.Received(ID{worker, newest})
	for n := newest - slots; n >= 0; n -= slots {
		if id := (ID{worker, n}); s.ledger.Knows(id) {
			s.ledger.Received(id)
		}
	}
}

// check holds what a service has heard of by watching to what there is.
func (s *settingsLoad) check(ctx context.Context, want string) error {
	ctx, cancel := context.WithTimeout(ctx, heardWithin)
	defer cancel()
	for {
		got := string(s.heard.Get(s.root, config.Secret(true)).Bytes())
		if got == want {
			return nil
		}
		if !platform.Until(ctx, time.Now().Add(tryAgain)) {
			return fmt.Errorf("a service has heard of %s, and there is %s", got, want)
		}
	}
}

func (s *settingsLoad) rekey(ctx context.Context) error {
	for {
		rsp := &configpb.RekeyResponse{}
		if err := s.call(ctx, "Config.Rekey", &configpb.RekeyRequest{}, rsp); err != nil || !rsp.GetMore() {
			return err
		}
	}
}

func (s *settingsLoad) call(ctx context.Context, endpoint string, req, rsp any) error {
	return s.client.Call(ctx, s.client.NewRequest("config", endpoint, req), rsp, client.WithAuthToken())
}
