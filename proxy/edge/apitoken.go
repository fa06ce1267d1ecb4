package edge

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/abuse"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/stale"
	authpb "github.com/micro/platform/proto/auth"
)

const (
	// apiPrefix tells an API token from an access token.
	apiPrefix = "mtk_"
	// maxAPIToken bounds what auth is asked about.
	maxAPIToken = 256
	// exchangeWithin bounds one exchange.
	exchangeWithin = 5 * time.Second
	// refusedFor is how long auth's refusal of a token holds, so that a token that
	// is bad cannot make work. One that is unknown never becomes good.
	refusedFor = 10 * time.Second
	// askAgain is how long what stood for a token goes on to when auth is away.
	askAgain = time.Second
	// maxExchanged bounds the tokens that are remembered, about 2 KiB each, and
	// maxRefused those that were refused, which take less.
	maxExchanged = 20_000
	maxRefused   = 10_000
	// maxExchanging bounds the exchanges under way: tokens that nobody has made
	// must not take auth from those who log in. maxWaiting bounds those that wait
	// for their turn, too.
	maxExchanging = 64
	maxWaiting    = 4096
	// wrongEach and wrongBurst are how many tokens that auth does not know an
	// address may show in a second, and at once; its network may five times that.
	wrongEach  = 2
	wrongBurst = 100
)

// exchange answers the access tokens that stand for API tokens. What is good,
// what is refused and what is asked about are remembered apart, so that tokens
// that somebody made up push no good one out.
type exchange struct {
	auth authpb.ComponentsClient
	now  func() time.Time
	busy chan struct{}
	// Tokens that auth does not know, by who shows them.
	address, network *rates

	mu      sync.Mutex
	good    map[[sha256.Size]byte]*exchanged
	refused map[[sha256.Size]byte]*exchanged
	asking  map[[sha256.Size]byte]*exchanged
}

// exchanged is what auth said of an API token. What it said is set before done is
// closed, and then stays.
type exchanged struct {
	done    chan struct{}
	late    chan struct{} // closed after stale.Patience: what stood for the token will do
	access  string
	fresh   time.Time // until then it is not asked about again
	expires time.Time // of the access token
	refusal *badToken // auth knows no such token, in words for its holder
	err     error     // it could not be found out
}

func newExchange(auth authpb.ComponentsClient) *exchange {
	return &exchange{
		auth: auth, now: time.Now, busy: make(chan struct{}, maxExchanging),
		address: newRates(wrongEach, wrongBurst), network: newRates(neighbours*wrongEach, neighbours*wrongBurst),
		good: map[[sha256.Size]byte]*exchanged{}, refused: map[[sha256.Size]byte]*exchanged{}, asking: map[[sha256.Size]byte]*exchanged{},
	}
}

// access answers the access token that stands for an API token, or a refusal
// for its holder. Many calls with the same token make one exchange. When
// the answer is anew, it is asked for again.
func (x *exchange) access(ctx context.Context, token, anew, from string) (access string, refusal *badToken, err error) {
	if len(token) > maxAPIToken {
		return "", bad(identity.ErrInvalid), nil
	}
	e, before, err := x.find(ctx, token, anew, from)
	if err != nil {
		return "", nil, err
	}
	late := e.late
	if before == nil {
		late = nil // there is nothing to go on with
	}
	select {
	case <-e.done:
	case <-late:
	case <-ctx.Done():
		return "", nil, errors.New(codes.DeadlineExceeded, "%v", ctx.Err())
	}
	select {
	case <-e.done:
		return e.access, e.refusal, e.err
	default:
		return before.access, nil, nil
	}
}

// find answers what is known of a token, or has auth asked. before is what the
// caller may go on with when that is late.
func (x *exchange) find(ctx context.Context, token, anew, from string) (e, before *exchanged, err error) {
	sum := sha256.Sum256([]byte(token))
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.now()
	known := x.good[sum]
	if before = known; before != nil && (before.access == anew || !now.Before(before.expires)) {
		before = nil
	}
	if e := x.asking[sum]; e != nil {
		return e, before, nil
	}
	if before != nil && now.Before(before.fresh) {
		return before, nil, nil
	}
	if e := x.refused[sum]; e != nil && now.Before(e.fresh) {
		return e, nil, nil
	}
	if len(x.asking) >= maxWaiting {
		return nil, nil, errBusy()
	}
	e = &exchanged{done: make(chan struct{}), late: make(chan struct{})}
	x.asking[sum] = e
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeWithin) // others wait for it, too
	go func() {                                                                    // ends with its time
		defer cancel()
		defer time.AfterFunc(stale.Patience, func() { close(e.late) }).Stop()
		x.ask(ctx, e, token, from, known)
		x.remember(sum, e)
		close(e.done)
	}()
	return e, before, nil
}

func errBusy() error {
	return errors.New(codes.Unavailable, "too many API tokens are being checked, try again")
}

// ask asks auth about a token, once it is its turn.
func (x *exchange) ask(ctx context.Context, e *exchanged, token, from string, before *exchanged) {
	select {
	case x.busy <- struct{}{}:
		defer func() { <-x.busy }()
	case <-ctx.Done():
		x.unanswered(e, before, errBusy())
		return
	}
	known, err := x.charge(from, before)
	if err != nil {
		e.err = err
		return
	}
	rsp, err := x.auth.Exchange(identity.AsComponent(ctx), &authpb.ExchangeRequest{Token: token})
	now := x.now()
	if errors.Code(err) == codes.Unauthenticated {
		e.fresh, e.refusal = now.Add(refusedFor), refused(errors.FromError(err))
		return
	}
	known()
	if err != nil {
		x.unanswered(e, before, errors.New(codes.Unavailable, "the API token could not be checked, try again").Because(err))
		return
	}
	e.access, e.expires = rsp.GetAccessToken(), time.Unix(rsp.GetExpires(), 0)
	e.fresh = now.Add(time.Duration(rsp.GetKeep()) * time.Second)
}

// charge counts a token that was never good here as one that auth does not know;
// known takes that back.
func (x *exchange) charge(from string, before *exchanged) (known func(), err error) {
	ip, err := netip.ParseAddr(from)
	if before != nil || err != nil {
		return func() {}, nil
	}
	address, network := abuse.Address(ip), abuse.Network(ip)
	// In this order, so that what an address may not costs its neighbours nothing.
	if !x.address.take(address) || !x.network.take(network) {
		return nil, errors.New(codes.ResourceExhausted, "your address or network has shown too many API tokens that do not exist: try again in a minute")
	}
	return func() { x.network.giveBack(network); x.address.giveBack(address) }, nil
}

// unanswered is for when auth is away or busy. What stood for the token does so
// still: revocations of it come by another way.
func (x *exchange) unanswered(e, before *exchanged, err error) {
	now := x.now()
	if before == nil || !now.Before(before.expires) {
		e.err = err
		return
	}
	e.access, e.expires, e.fresh = before.access, before.expires, now.Add(askAgain)
}

// remember puts an answer where the next call with the token finds it.
func (x *exchange) remember(sum [sha256.Size]byte, e *exchanged) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.asking, sum)
	now := x.now()
	switch {
	case e.access != "":
		makeRoom(x.good, maxExchanged, now)
		x.good[sum] = e
	case e.refusal != nil:
		delete(x.good, sum)
		makeRoom(x.refused, maxRefused, now)
		x.refused[sum] = e
	}
}

// refused is what auth says of a token.
func refused(e *errors.Error) *badToken {
	if e.Reason == "" {
		return &badToken{identity.TokenInvalid, e.Detail}
	}
	return &badToken{e.Reason, e.Detail}
}

// makeRoom forgets a few answers when there are too many: what is old, and at
// least one.
func makeRoom(answers map[[sha256.Size]byte]*exchanged, most int, now time.Time) {
	if len(answers) < most {
		return
	}
	const few = 32
	seen := 0
	for sum, e := range answers { // in random order
		if seen == 0 || !now.Before(e.fresh) {
			delete(answers, sum)
		}
		if seen++; seen == few {
			return
		}
	}
}

func isAPIToken(token string) bool { return strings.HasPrefix(token, apiPrefix) }
