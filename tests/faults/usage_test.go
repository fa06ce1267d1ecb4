package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
	registrypb "github.com/micro/platform/proto/registry"
	usagepb "github.com/micro/platform/proto/usage"
	"github.com/micro/platform/tests/platform"
)

// Members and endpoints: a figure for each pair.
const (
	members   = 10
	endpoints = 10
)

// call is what a call counts as.
type call struct{ member, endpoint string }

// book is the clients' log of their calls.
type book struct {
	site *Site

	mu       sync.Mutex
	answered map[call]int
	lost     map[call]int // without an answer: they may count or not
	refused  int
	behind   time.Duration // at most, of an answer's way into the figures
}

// flaw is what is wrong with metering, on purpose: with it something must be
// lost or counted twice, or else the method would prove nothing.
type flaw struct {
	name    string
	victims []string // all if there are none
	// spoil is done while a victim is away.
	spoil          func(ctx context.Context, d *databases, victim string) error
	loses, doubles bool
}

// TestUsage kills the edges, usage and the databases at random while members
// make calls: each call that was answered counts once, and one without an answer
// at most once. (E19)
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, f := range []flaw{
		{name: "as it is"},
		{name: "records in the memory of an edge", victims: []string{"proxy", "gateway"}, loses: true,
			spoil: func(_ context.Context, d *databases, edge string) error {
				return os.RemoveAll(filepath.Join(d.Platform.StateDir, edge, "calls"))
			}},
		{name: "it is forgotten what is folded", victims: []string{"usage"}, doubles: true,
			spoil: func(ctx context.Context, d *databases, _ string) error {
				conn, err := pgx.Connect(ctx, d.Platform.PostgresURL.Reveal())
				if err != nil {
					return err
				}
				defer conn.Close(ctx)
				_, err = conn.Exec(ctx, "DELETE FROM usage.logs")
				return err
			}},
	} {
		t.Run(f.name, func(t *testing.T) { meterUnderFaults(t, f) })
	}
}

func meterUnderFaults(t *testing.T, f flaw) {
	s, d := site(t, platform.Config{})
	s.Victims = f.among(s, d)
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	t.Cleanup(func() { stop(); working.Wait() })
	at := counterService(t)
	working.Go(func() { s.keepRegistered(ctx, at) })
	b := &book{site: s, answered: map[call]int{}, lost: map[call]int{}}
	for m := range members {
		member := fmt.Sprintf("member-%d", m)
		if _, err := s.as(ctx, t, member); err != nil {
			t.Fatal(err)
		}
		working.Go(func() { b.keepCalling(ctx, member) })
	}
	working.Go(func() { b.keepLooking(ctx, t, call{"member-0", "Counter.E0"}) })
	n, random := seed(t)
	kills, err := Torment(ctx, random, trialTime(t), s.Victims)
	if err != nil {
		t.Error(err)
	}
	stop()
	working.Wait()
	lost, doubled := b.compare(t, fmt.Sprintf("seed %d, kills %v", n, kills), f.loses)
	if (lost > 0) != f.loses || (doubled > 0) != f.doubles {
		t.Errorf("%d calls that were answered are not counted, %d are counted twice; expected to lose: %v, to double: %v", lost, doubled, f.loses, f.doubles)
	}
}

// among answers who is killed, and what is spoilt then.
func (f flaw) among(s *Site, d *databases) []Victim {
	all := []Victim{{d.redis.Name, d.redis.Kill, d.redis.Up}, {d.postgres.Name, d.postgres.Kill, d.postgres.Up}}
	for _, name := range []string{"usage", "proxy", "gateway"} {
		all = append(all, Victim{name,
			func() error { s.Platform.Kill(name); return nil },
			func(ctx context.Context) error {
				if f.spoil != nil {
					if err := f.spoil(ctx, d, name); err != nil {
						return err
					}
				}
				return s.Platform.Again(ctx, name)
			}})
	}
	if len(f.victims) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(v Victim) bool { return !slices.Contains(f.victims, v.Name) })
}

// keepLooking notes how long it takes from an answer until it is in the figures,
// the longest of all, while things are killed.
func (b *book) keepLooking(ctx context.Context, t *testing.T, x call) {
	for ctx.Err() == nil {
		b.mu.Lock()
		want, since := b.answered[x], time.Now()
		b.mu.Unlock()
		for platform.Until(ctx, time.Now().Add(tryAgain)) {
			if is := b.read(t); is != nil && is[x] >= want {
				break
			}
		}
		b.mu.Lock()
		b.behind = max(b.behind, time.Since(since))
		b.mu.Unlock()
	}
}

// as makes an account and answers a token of it.
func (s *Site) as(ctx context.Context, t *testing.T, id string) (string, error) {
	t.Helper()
	err := s.Client.Call(ctx, s.Client.NewRequest("auth", "Auth.Generate", &authpb.GenerateRequest{Id: id, Type: "user", Secret: adminPassword + id}),
		&authpb.GenerateResponse{}, client.WithAuthToken())
	if err != nil {
		return "", err
	}
	return s.tokenOf(ctx, id)
}

func (s *Site) tokenOf(ctx context.Context, id string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	rsp, err := authpb.NewAuthClient(s.conn).Token(ctx, &authpb.TokenRequest{Id: id, Secret: adminPassword + id, Options: &authpb.Options{Namespace: "micro"}})
	return rsp.GetToken().GetAccessToken(), err
}

// keepRegistered registers the service of the calls, again and again.
func (s *Site) keepRegistered(ctx context.Context, at string) {
	counter := &registrypb.Service{Name: "counter", Version: "latest", Nodes: []*registrypb.Node{{Id: "counter-1", Address: at}},
		Options: &registrypb.Options{Ttl: 120}}
	for e := range endpoints {
		counter.Endpoints = append(counter.Endpoints, &registrypb.Endpoint{Name: fmt.Sprintf("Counter.E%d", e)})
	}
	for {
		try, cancel := context.WithTimeout(ctx, sendTimeout)
		err := s.Client.Call(try, s.Client.NewRequest("registry", "Registry.Register", counter), &registrypb.EmptyResponse{}, client.WithAuthToken())
		cancel()
		wait := 5 * time.Second
		if err != nil {
			wait = 10 * tryAgain
		}
		if !platform.Until(ctx, time.Now().Add(wait)) {
			return
		}
	}
}

// counterService answers every call with nothing.
func counterService(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(rpc.MaxMessage), grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(func(_ any, in grpc.ServerStream) error {
		var body []byte
		if err := in.RecvMsg(&body); err != nil {
			return err
		}
		return in.SendMsg([]byte("{}"))
	}))
	go s.Serve(l) //nolint:errcheck // it ends with the test
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// raw is the codec of messages that are bytes.
type raw struct{}

func (raw) Name() string                    { return "proto" }
func (raw) Marshal(v any) ([]byte, error)   { return v.([]byte), nil }
func (raw) Unmarshal(b []byte, v any) error { *v.(*[]byte) = bytes.Clone(b); return nil }

// keepCalling makes calls, by turns at either edge, until ctx ends.
func (b *book) keepCalling(ctx context.Context, member string) {
	conn, err := grpc.NewClient(b.site.Platform.Proxy, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return
	}
	defer conn.Close()
	web := &http.Client{Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	token, renew := "", time.Time{}
	for n := 0; ctx.Err() == nil; n++ {
		if time.Now().After(renew) {
			if fresh, err := b.site.tokenOf(ctx, member); err == nil {
				token, renew = fresh, time.Now().Add(renewAfter)
			}
		}
		if token == "" { // a call without one counts, too, but for no member
			platform.Until(ctx, time.Now().Add(tryAgain))
			continue
		}
		x := call{member, fmt.Sprintf("Counter.E%d", n%endpoints)}
		var answer outcome
		if n/endpoints%2 == 0 {
			answer = overGRPC(conn, x, token)
		} else {
			answer = overHTTP(web, b.site.Platform.API, x, token)
		}
		b.note(x, answer)
		if answer != answered {
			platform.Until(ctx, time.Now().Add(tryAgain))
		}
	}
}

func (b *book) note(x call, answer outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch answer {
	case answered:
		b.answered[x]++
	case lost:
		b.lost[x]++
	case refused:
		b.refused++
	}
}

// outcome is what a client sees of a call.
type outcome int

const (
	answered outcome = iota
	lost             // it may have reached the service
	refused          // by the edge, in so many words
)

func overGRPC(conn *grpc.ClientConn, x call, token string) outcome {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	err := conn.Invoke(ctx, "/counter."+strings.Replace(x.endpoint, ".", "/", 1), &emptypb.Empty{}, &emptypb.Empty{}, grpc.ForceCodec(empty{}))
	return outcomeOf(err)
}

// empty is the codec of messages that nobody reads.
type empty struct{}

func (empty) Name() string                { return "proto" }
func (empty) Marshal(any) ([]byte, error) { return []byte("{}"), nil }
func (empty) Unmarshal([]byte, any) error { return nil }

func outcomeOf(err error) outcome {
	switch code := status.Code(err); {
	case err == nil:
		return answered
	case code == codes.Unauthenticated, code == codes.NotFound, strings.Contains(err.Error(), "connect: "): // it went nowhere
		return refused
	}
	return lost
}

func overHTTP(web *http.Client, api string, x call, token string) outcome {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	url := "http://" + api + "/counter/" + strings.Replace(x.endpoint, ".", "/", 1)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return refused
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	rsp, err := web.Do(req)
	if err != nil {
		return outcomeOf(err)
	}
	defer rsp.Body.Close()
	_, err = io.Copy(io.Discard, rsp.Body)
	switch {
	case err != nil || rsp.StatusCode >= http.StatusInternalServerError:
		return lost
	case rsp.StatusCode == http.StatusOK:
		return answered
	}
	return refused
}

// compare reads what is counted until it is all there, or not more than is
// expected to be lost, and compares it with what the clients know.
func (b *book) compare(t *testing.T, title string, loses bool) (lost, doubled int) {
	t.Helper()
	var counted map[call]int
	short := func() (n int) {
		for x, calls := range b.answered {
			n += max(0, calls-counted[x])
		}
		return n
	}
	patience := settleTime
	if loses {
		patience = lossTime
	}
	for end := time.Now().Add(patience); ; {
		if counted = b.read(t); counted != nil && short() == 0 || time.Now().After(end) {
			break
		}
		<-time.After(10 * tryAgain)
	}
	<-time.After(2 * time.Second) // what is counted twice would come late
	if again := b.read(t); again != nil {
		counted = again
	}
	sum := func(of map[call]int) (n int) {
		for _, calls := range of {
			n += calls
		}
		return n
	}
	for x, calls := range counted {
		doubled += max(0, calls-b.answered[x]-b.lost[x])
	}
	lost = short()
	t.Logf("%s: answered %d, without an answer %d, refused %d, counted %d, lost %d, doubled %d, at most %v behind",
		title, sum(b.answered), sum(b.lost), b.refused, sum(counted), lost, doubled, b.behind.Round(time.Millisecond))
	if sum(b.answered) == 0 {
		t.Fatal("no call was answered")
	}
	return lost, doubled
}

// read answers the calls that are counted, or nil while usage is away.
func (b *book) read(t *testing.T) map[call]int {
	t.Helper()
	rsp := &usagepb.ReadResponse{}
	req := &usagepb.ReadRequest{Service: "counter", By: []string{"member", "endpoint"}, From: time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)}
	err := b.site.Client.Call(t.Context(), b.site.Client.NewRequest("usage", "Usage.Read", req), rsp, client.WithAuthToken())
	if err != nil {
		return nil
	}
	out := map[call]int{}
	for _, r := range rsp.GetRows() {
		if r.GetCalls() > 0 {
			out[call{r.GetMember(), r.GetEndpoint()}] = int(r.GetCalls())
		}
	}
	return out
}
