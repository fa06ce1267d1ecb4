package faults

import (
	"context"
	"time"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/events"
)

// ackWait is short, so that what a consumer was sent and lost comes again
// before the trial ends.
const ackWait = 5 * time.Second

// Events publishes each message until it is acknowledged. It is received by
// those who read the topic afterwards, and by the consumers, until ctx ends: one
// of the group "single", to which all come in order, and three that share the
// work of "many".
func Events(ctx context.Context, c client.Client, topic string) (*Load, error) {
	kept := NewLedger("events kept", true)
	stream := events.New(c)
	l := &Load{
		Workers: 8, Every: 10 * time.Millisecond, Retry: true, Ledgers: []*Ledger{kept},
		Send: func(ctx context.Context, id ID) error {
			return stream.Publish(topic, []byte(id.String()), events.WithPublishContext(ctx))
		},
		Collect: func(ctx context.Context) error {
			kept.Recount()
			for after := ""; ; {
				found, err := stream.Read(topic, events.ReadAfter(after), events.ReadLimit(page), events.ReadContext(ctx))
				if len(found) == 0 || err != nil {
					return err
				}
				for _, e := range found {
					after = e.ID
					id, err := ParseID(string(e.Payload))
					if err != nil {
						return err
					}
					kept.Received(id)
				}
			}
		},
	}
	for _, group := range []struct {
		name      string
		consumers int
	}{{"single", 1}, {"many", 3}} {
		ledger := NewLedger("events, group "+group.name, group.consumers == 1)
		l.Ledgers = append(l.Ledgers, ledger)
		for range group.consumers {
			in, err := stream.Consume(topic, events.WithContext(ctx), events.WithGroup(group.name),
				events.WithOffset(time.Now().Add(-time.Hour)), events.WithAutoAck(false, ackWait))
			if err != nil {
				return nil, err
			}
			go consume(ledger, in)
		}
	}
	return l, nil
}

// consume takes events until there are no more.
func consume(l *Ledger, in <-chan events.Event) {
	for e := range in {
		if id, err := ParseID(string(e.Payload)); err == nil {
			l.Received(id)
		}
		e.Ack() //nolint:errcheck // it comes again
	}
}
