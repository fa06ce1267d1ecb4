package edge

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/stale"
	authpb "github.com/micro/platform/proto/auth"
)

// exchanges is an auth that knows the tokens which begin with mtk_good.
type exchanges struct {
	authpb.ComponentsClient
	asked atomic.Int32
	hangs atomic.Bool
}

func (a *exchanges) Exchange(ctx context.Context, r *authpb.ExchangeRequest, _ ...grpc.CallOption) (*authpb.ExchangeResponse, error) {
	a.asked.Add(1)
	if a.hangs.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !strings.HasPrefix(r.GetToken(), "mtk_good") {
		return nil, errors.New(codes.Unauthenticated, "the API token is unknown or was revoked")
	}
	return &authpb.ExchangeResponse{AccessToken: "access of " + r.GetToken(), Expires: time.Now().Add(time.Hour).Unix(), Keep: 60}, nil
}

// TestMadeUpTokens shows that an address, and a network, which shows tokens that
// nobody has made, soon makes auth no work, and that others do not notice, nor
// do tokens that were good before.
func TestMadeUpTokens(t *testing.T) {
	t.Parallel()
	auth := &exchanges{}
	x := newExchange(auth)
	clock := time.Now()
	x.address.now = func() time.Time { return clock }
	x.network.now = x.address.now
	access := func(token, from string) (bool, error) {
		access, _, err := x.access(t.Context(), token, "", from)
		return access != "", err
	}
	if good, err := access("mtk_good1", "192.0.2.1"); !good || err != nil {
		t.Fatalf("a good token: %v", err)
	}
	flood := func(from func(i int) string, n int) (asked int32) {
		before := auth.asked.Load()
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { _, _ = access(fmt.Sprintf("mtk_%s_%d", from(i), i), from(i)) })
		}
		wg.Wait()
		return auth.asked.Load() - before
	}
	if n := flood(func(int) string { return "192.0.2.1" }, 1000); n != wrongBurst {
		t.Errorf("1000 tokens from an address: auth was asked %d times, want %d", n, wrongBurst)
	}
	if _, err := access("mtk_x", "192.0.2.1"); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more: %v", err)
	}
	if good, err := access("mtk_good1", "192.0.2.1"); !good {
		t.Errorf("a token that was good before, from there: %v", err)
	}
	if good, err := access("mtk_good2", "192.0.2.2"); !good {
		t.Errorf("another address: %v", err)
	}
	if n := flood(func(i int) string { return fmt.Sprintf("198.51.100.%d", i%200) }, 2000); n != neighbours*wrongBurst {
		t.Errorf("2000 tokens from a network: auth was asked %d times, want %d", n, neighbours*wrongBurst)
	}
	clock = clock.Add(time.Second)
	if good, err := access("mtk_good3", "192.0.2.1"); !good {
		t.Errorf("a second later: %v", err)
	}
}

// TestGoodTokensStay shows that refusals push out refusals only, and that there
// is a bound to all.
func TestGoodTokensStay(t *testing.T) {
	t.Parallel()
	auth := &exchanges{}
	x := newExchange(auth)
	for i := range 100 {
		if _, _, err := x.access(t.Context(), fmt.Sprintf("mtk_good%d", i), "", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxRefused + 1000 {
		if _, refusal, err := x.access(t.Context(), fmt.Sprintf("mtk_%d", i), "", fmt.Sprintf("10.%d.%d.1", i>>8&255, i&255)); refusal == nil || err != nil {
			t.Fatalf("%d: %v, %v", i, refusal, err)
		}
	}
	before := auth.asked.Load()
	for i := range 100 {
		if access, _, err := x.access(t.Context(), fmt.Sprintf("mtk_good%d", i), "", "192.0.2.1"); access == "" {
			t.Errorf("%d: %v", i, err)
		}
	}
	if n := auth.asked.Load() - before; n != 0 || len(x.refused) > maxRefused || len(x.asking) != 0 {
		t.Errorf("auth was asked again %d times; %d refusals are remembered, %d are being asked about", n, len(x.refused), len(x.asking))
	}
}

// TestManyGoodTokens shows that the limits are about tokens that do not exist.
func TestManyGoodTokens(t *testing.T) {
	t.Parallel()
	x := newExchange(&exchanges{})
	var wg sync.WaitGroup
	for i := range 2000 {
		wg.Go(func() {
			if access, _, err := x.access(t.Context(), fmt.Sprintf("mtk_good%d", i), "", "192.0.2.1"); access == "" || err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// TestAuthIsLate shows that nobody waits for an auth that does not answer while
// something stands for their token.
func TestAuthIsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		auth := &exchanges{}
		x := newExchange(auth)
		expect := func(anew string, wait time.Duration, good bool) {
			t.Helper()
			began := time.Now()
			access, _, err := x.access(t.Context(), "mtk_good", anew, "192.0.2.1")
			if took := time.Since(began); took != wait || (access != "") != good {
				t.Errorf("%q, %v after %v, want something: %t after %v", access, err, took, good, wait)
			}
		}
		expect("", 0, true)
		<-time.After(2 * time.Minute)
		auth.hangs.Store(true)
		expect("", stale.Patience, true)                                  // the first to ask
		expect("", 0, true)                                               // the others
		expect("access of mtk_good", exchangeWithin-stale.Patience, true) // who has heard that it is not good
		auth.hangs.Store(false)
		<-time.After(2 * askAgain)
		asked := auth.asked.Load()
		expect("", 0, true)
		if auth.asked.Load() == asked {
			t.Error("auth is not asked again")
		}
		auth.hangs.Store(true)
		<-time.After(2 * time.Hour)
		expect("", exchangeWithin, false) // nothing stands for it any more
	})
}
