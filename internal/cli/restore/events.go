package restore

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/archive"
	eventspb "github.com/micro/platform/proto/events"
)

// batchEvents is how many events are sent at once: what every plan with events
// lets a namespace publish after a pause.
const batchEvents = 250

// topicWriter writes the events of a topic.
type topicWriter struct {
	i    *Import
	part archive.Part

	seen  int64
	batch []*eventspb.Event
	bytes int
}

func (w *topicWriter) file(ctx context.Context, f archive.File, skip int64) error {
	return archive.Lines(f, func(e archive.Event) error {
		if w.seen++; w.seen <= skip {
			return nil
		}
		if w.seen == 1 && w.i.o.Overwrite { // the topic's own events are newer than these
			if err := w.clear(ctx); err != nil {
				return err
			}
		}
		payload := e.Payload.Bytes()
		if len(w.batch) == batchEvents || w.bytes+len(payload) > batchBytes && len(w.batch) > 0 {
			if err := w.flush(ctx); err != nil {
				return err
			}
			if err := w.i.advance(ctx, w.part, w.seen-1, false); err != nil {
				return err
			}
		}
		w.batch = append(w.batch, &eventspb.Event{Id: e.ID, Timestamp: e.Timestamp.Unix(), Metadata: e.Metadata, Payload: payload})
		w.bytes += len(payload)
		return nil
	})
}

func (w *topicWriter) end(ctx context.Context) error { return w.flush(ctx) }

func (w *topicWriter) clear(ctx context.Context) error {
	_, err := eventspb.NewTopicsClient(w.i.conn).Delete(ctx, &eventspb.DeleteTopicRequest{Topic: w.part.Of, Namespace: w.i.o.Namespace})
	if errors.Code(err) == codes.NotFound {
		return nil
	}
	return err
}

func (w *topicWriter) flush(ctx context.Context) error {
	if len(w.batch) == 0 {
		return nil
	}
	err := w.i.restoreEvents(ctx, &eventspb.RestoreRequest{Topic: w.part.Of, Events: w.batch})
	w.batch, w.bytes = w.batch[:0], 0
	return err
}

func (i *Import) restoreEvents(ctx context.Context, req *eventspb.RestoreRequest) error {
	req.Namespace = i.o.Namespace
	return i.retry(ctx, func() error {
		_, err := eventspb.NewStreamClient(i.conn).Restore(ctx, req)
		return err
	})
}

// groupWriter puts groups where they were.
type groupWriter struct {
	i    *Import
	part archive.Part
	seen int64
}

// file makes groups. One goes on after what it had acknowledged: what was sent to
// it and not acknowledged is sent again.
func (w *groupWriter) file(ctx context.Context, f archive.File, skip int64) error {
	return archive.Lines(f, func(g archive.Group) error {
		if w.seen++; w.seen <= skip || g.Topic == news {
			return nil
		}
		at, err := before(g.FirstPending)
		if err != nil {
			return err
		}
		err = w.i.restoreEvents(ctx, &eventspb.RestoreRequest{Topic: g.Topic, Groups: []*eventspb.Group{{Name: g.Name, Last: cmp.Or(at, g.Last)}}})
		if err != nil {
			return err
		}
		return w.i.advance(ctx, w.part, w.seen, false)
	})
}

func (w *groupWriter) end(context.Context) error { return nil }

// before answers an id that is before another and after all that are before it.
func before(id string) (string, error) {
	if id == "" {
		return "", nil
	}
	parts := strings.Split(id, "-")
	if len(parts) < 2 {
		return "", fmt.Errorf("the archive is damaged: %.60q is not the id of an event", id)
	}
	ms, err1 := strconv.ParseUint(parts[0], 10, 64)
	seq, err2 := strconv.ParseUint(parts[1], 10, 64)
	switch {
	case err1 != nil || err2 != nil || ms == 0:
		return "", fmt.Errorf("the archive is damaged: %.60q is not the id of an event", id)
	case seq > 0:
		return fmt.Sprintf("%d-%d", ms, seq-1), nil
	default:
		return fmt.Sprintf("%d-%d", ms-1, uint64(math.MaxUint64)), nil
	}
}
