package events

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	"google.golang.org/protobuf/proto"

	eventspb "github.com/micro/platform/proto/events"
)

// What the metadata of a dead letter says beside the event's own.
const (
	deadReason   = "dead-reason"
	deadID       = "dead-id"
	deadGroup    = "dead-group"
	deadAttempts = "dead-attempts"
)

// bury moves an event to the dead letters. One that is there already stays
// where it is, and is done.
func (g *group) bury(ctx context.Context, e entry, event *eventspb.Event) error {
	if g.topic.dead {
		g.acknowledge(e.at)
		return nil
	}
	metadata := maps.Clone(event.GetMetadata())
	if metadata == nil {
		metadata = map[string]string{}
	}
	sent := e.attempt - 1
	metadata[deadReason] = fmt.Sprintf("not acknowledged after it was sent %d times", sent)
	metadata[deadID], metadata[deadGroup], metadata[deadAttempts] = event.GetId(), g.name, strconv.FormatInt(sent, 10)
	blob, err := proto.Marshal(&eventspb.Event{Metadata: metadata, Payload: event.GetPayload(), Timestamp: event.GetTimestamp()})
	if err == nil {
		err = g.src.bury(ctx, e.at, blob)
	}
	if err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.retries = append(g.retries, retry{entry: e})
		g.sortRetries()
		return err
	}
	return nil
}
