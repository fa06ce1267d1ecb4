package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/micro/platform/internal/rpc"
	authpb "github.com/micro/platform/proto/auth"
)

// ownToken is a component's own token, exchanged for the cluster secret and
// renewed in time.
type ownToken struct {
	renewing chan struct{} // holds one thing while somebody gets another

	mu    sync.Mutex
	value string
	renew time.Time
}

// valid answers the token, or "".
func (t *ownToken) valid() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Now().Before(t.renew) {
		return t.value
	}
	return ""
}

func (t *ownToken) set(value string, renew time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.value, t.renew = value, renew
}

// token answers the source of a component's own token. The caller holds mu.
func (g *group) token(component string) rpc.TokenSource {
	t := g.tokens[component]
	if t == nil {
		t = &ownToken{renewing: make(chan struct{}, 1)}
		g.tokens[component] = t
	}
	return func(caller context.Context) (string, error) {
		if value := t.valid(); value != "" {
			return value, nil
		}
		select {
		case t.renewing <- struct{}{}:
			defer func() { <-t.renewing }()
		case <-caller.Done():
			return "", caller.Err()
		}
		if value := t.valid(); value != "" { // somebody else has got it
			return value, nil
		}
		conn, err := g.conn("auth", component)
		if err != nil {
			return "", err
		}
		// A context of its own: this call carries no token, it is how to get one.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		defer context.AfterFunc(caller, cancel)()
		rsp, err := authpb.NewComponentsClient(conn).Token(ctx, &authpb.ComponentTokenRequest{
			Name: component, Secret: g.Platform.ClusterSecret.Reveal(),
		})
		if err != nil {
			return "", fmt.Errorf("get the token of component %s: %w", component, err)
		}
		now := time.Now()
		t.set(rsp.GetToken().GetAccessToken(), now.Add(keep(rsp.GetToken(), now)))
		return rsp.GetToken().GetAccessToken(), nil
	}
}

// doubted is how long a token is kept of an auth whose clock is another: the next
// that is asked may be right, and others refuse this one.
const doubted = 5 * time.Second

// keep answers how long to keep a token that came just now.
func keep(t *authpb.Token, now time.Time) time.Duration {
	issued := time.Unix(t.GetCreated(), 0)
	if now.Sub(issued).Abs() > clockOff {
		return doubted
	}
	return time.Unix(t.GetExpiry(), 0).Sub(issued) * 3 / 4
}
