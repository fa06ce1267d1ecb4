package broker

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// change has hearLoop look at a channel or pattern. It is called with mu held.
func (b *bus) change(name string) {
	b.untold[name] = true
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// news is what Redis is to be told.
type news struct {
	pubsub                         *redis.PubSub
	channels, patterns             []string // to say more of
	formerChannels, formerPatterns []string // to say no more of
}

// hearLoop tells Redis which channels and patterns are listened to, until ctx
// ends. What a lost connection was not told of, it tells when it comes back; one
// that cannot be made shows at the next read.
func (b *bus) hearLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.changed:
		}
		x := b.unheard()
		if len(x.channels) > 0 {
			x.pubsub.Subscribe(ctx, x.channels...) //nolint:errcheck // see above
		}
		if len(x.patterns) > 0 {
			x.pubsub.PSubscribe(ctx, x.patterns...) //nolint:errcheck // see above
		}
		if len(x.formerChannels) > 0 {
			x.pubsub.Unsubscribe(ctx, x.formerChannels...) //nolint:errcheck // see above
		}
		if len(x.formerPatterns) > 0 {
			x.pubsub.PUnsubscribe(ctx, x.formerPatterns...) //nolint:errcheck // see above
		}
	}
}

// unheard answers what has changed since Redis was told, and takes it for told.
func (b *bus) unheard() news {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := news{pubsub: b.pubsub}
	for name := range b.untold {
		l, was := b.heard[name], b.told[name]
		switch {
		case l == was:
		case l == nil && was.pattern:
			x.formerPatterns = append(x.formerPatterns, name)
		case l == nil:
			x.formerChannels = append(x.formerChannels, name)
		case l.pattern: // also if there were others: Redis confirms it again
			x.patterns = append(x.patterns, name)
		default:
			x.channels = append(x.channels, name)
		}
		if b.told[name] = l; l == nil {
			delete(b.told, name)
		}
	}
	clear(b.untold)
	return x
}
