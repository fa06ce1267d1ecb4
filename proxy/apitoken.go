package proxy

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
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
	// is bad cannot make work.
	refusedFor = time.Second
	// maxExchanged bounds what is remembered, about 2 KiB a token.
	maxExchanged = 20_000
	// maxExchanging bounds the exchanges under way: tokens that nobody has made
	// must not take auth from those who log in.
	maxExchanging = 64
)

// exchange answers the access tokens that stand for API tokens.
type exchange struct {
	auth authpb.ComponentsClient
	now  func() time.Time
	busy chan struct{}

	mu    sync.Mutex
	known map[[sha256.Size]byte]*exchanged
}

// exchanged is what is known of an API token. All but done is set before done
// is closed, and then stays.
type exchanged struct {
	done    chan struct{}
	access  string
	fresh   time.Time // until then it is not asked about again
	expires time.Time // of the access token
	refusal *badToken // auth knows no such token, in words for its holder
	err     error     // it could not be found out
}

func newExchange(auth authpb.ComponentsClient) *exchange {
	return &exchange{auth: auth, now: time.Now, busy: make(chan struct{}, maxExchanging), known: map[[sha256.Size]byte]*exchanged{}}
}

// access answers the access token that stands for an API token, or a refusal
// for its holder. Many calls with the same token make one exchange. When
// the answer is anew, it is asked for again.
func (x *exchange) access(ctx context.Context, token, anew string) (access string, refusal *badToken, err error) {
	if len(token) > maxAPIToken {
		return "", bad(identity.ErrInvalid), nil
	}
	sum := sha256.Sum256([]byte(token))
	x.mu.Lock()
	e := x.known[sum]
	if e == nil || e.old(x.now()) || anew != "" && e.is(anew) {
		e = x.begin(ctx, sum, token, e)
	}
	x.mu.Unlock()
	select {
	case <-e.done:
		return e.access, e.refusal, e.err
	case <-ctx.Done():
		return "", nil, errors.New(codes.DeadlineExceeded, "%v", ctx.Err())
	}
}

// old says whether the answer has to be asked for again.
func (e *exchanged) old(now time.Time) bool {
	select {
	case <-e.done:
		return !now.Before(e.fresh)
	default:
		return false // on its way
	}
}

// is says whether that access token is the answer.
func (e *exchanged) is(access string) bool {
	select {
	case <-e.done:
		return e.access == access
	default:
		return false
	}
}

// begin asks auth about a token. The caller holds mu.
func (x *exchange) begin(ctx context.Context, sum [sha256.Size]byte, token string, before *exchanged) *exchanged {
	x.makeRoom()
	e := &exchanged{done: make(chan struct{})}
	x.known[sum] = e
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeWithin) // others wait for it, too
	go func() {                                                                    // ends with its time
		defer cancel()
		defer close(e.done)
		x.ask(ctx, e, token, before)
	}()
	return e
}

func (x *exchange) ask(ctx context.Context, e *exchanged, token string, before *exchanged) {
	select {
	case x.busy <- struct{}{}:
		defer func() { <-x.busy }()
	case <-ctx.Done():
		x.unanswered(e, before, errors.New(codes.Unavailable, "too many API tokens are being checked, try again"))
		return
	}
	rsp, err := x.auth.Exchange(identity.AsComponent(ctx), &authpb.ExchangeRequest{Token: token})
	now := x.now()
	switch {
	case err == nil:
		e.access, e.expires = rsp.GetAccessToken(), time.Unix(rsp.GetExpires(), 0)
		e.fresh = now.Add(time.Duration(rsp.GetKeep()) * time.Second)
	case errors.Code(err) == codes.Unauthenticated:
		e.fresh, e.refusal = now.Add(refusedFor), refused(errors.FromError(err))
	default:
		x.unanswered(e, before, errors.New(codes.Unavailable, "the API token could not be checked, try again").Because(err))
	}
}

// unanswered is for when auth is away or busy. What stood for the token does so
// still: revocations of it come by another way.
func (x *exchange) unanswered(e, before *exchanged, err error) {
	now := x.now()
	if before == nil || before.access == "" || !now.Before(before.expires) {
		e.fresh, e.err = now, err
		return
	}
	e.access, e.expires, e.fresh = before.access, before.expires, now.Add(refusedFor)
}

// refused is what auth says of a token.
func refused(e *errors.Error) *badToken {
	if e.Reason == "" {
		return &badToken{identity.TokenInvalid, e.Detail}
	}
	return &badToken{e.Reason, e.Detail}
}

// makeRoom forgets a few answers when there are too many. The caller holds mu.
func (x *exchange) makeRoom() {
	if len(x.known) < maxExchanged {
		return
	}
	const few = 32
	seen, now := 0, x.now()
	for sum, e := range x.known { // in random order: what is old, and at least one
		if seen == 0 || e.old(now) {
			delete(x.known, sum)
		}
		if seen++; seen == few {
			return
		}
	}
}

func isAPIToken(token string) bool { return strings.HasPrefix(token, apiPrefix) }
