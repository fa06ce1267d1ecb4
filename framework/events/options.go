package events

import (
	"context"
	"maps"
	"time"
)

type publishOptions struct {
	ctx       context.Context //nolint:containedctx // it lives as long as the call
	metadata  map[string]string
	timestamp time.Time
}

// PublishOption changes one Publish.
type PublishOption func(*publishOptions)

// WithMetadata goes with the event.
func WithMetadata(md map[string]string) PublishOption {
	return func(o *publishOptions) { o.metadata = maps.Clone(md) }
}

// WithTimestamp is when the event happened; now unless set.
func WithTimestamp(t time.Time) PublishOption { return func(o *publishOptions) { o.timestamp = t } }

// WithPublishContext bounds the call. Without it that is a minute.
func WithPublishContext(ctx context.Context) PublishOption {
	return func(o *publishOptions) { o.ctx = ctx }
}

type consumeOptions struct {
	ctx        context.Context //nolint:containedctx // it lives as long as the consumer
	group      string
	offset     time.Time
	autoAck    bool
	ackWait    time.Duration
	retryLimit int
	window     int
}

// ConsumeOption changes one Consume.
type ConsumeOption func(*consumeOptions)

// WithContext ends the consumer, and closes its channel, when ctx ends.
func WithContext(ctx context.Context) ConsumeOption { return func(o *consumeOptions) { o.ctx = ctx } }

// WithGroup makes consumers share a topic's events. The platform remembers where
// a group is. Without a group a consumer gets all events from now on.
func WithGroup(name string) ConsumeOption { return func(o *consumeOptions) { o.group = name } }

// WithOffset lets a new group begin with the events since then.
func WithOffset(t time.Time) ConsumeOption { return func(o *consumeOptions) { o.offset = t } }

// WithAutoAck says whether an event is done when it was sent, which it is unless
// set. If not, one that is not acknowledged within ackWait is sent again.
func WithAutoAck(ack bool, ackWait time.Duration) ConsumeOption {
	return func(o *consumeOptions) { o.autoAck, o.ackWait = ack, ackWait }
}

// WithRetryLimit is how often an event is sent again before it goes to the dead
// letters, topic "<topic>.dead". Without it there is no limit.
func WithRetryLimit(n int) ConsumeOption { return func(o *consumeOptions) { o.retryLimit = n } }

// WithWindow is how many events may be sent and not acknowledged. With 1 they
// come in order even when one is sent again.
func WithWindow(n int) ConsumeOption { return func(o *consumeOptions) { o.window = n } }

type readOptions struct {
	ctx           context.Context //nolint:containedctx // it lives as long as the call
	limit, offset uint
	after         string
}

// ReadOption changes one Read.
type ReadOption func(*readOptions)

// ReadLimit is how many events to answer; 250 unless set, 1000 at most.
func ReadLimit(n uint) ReadOption { return func(o *readOptions) { o.limit = n } }

// ReadOffset is how many events to leave out.
func ReadOffset(n uint) ReadOption { return func(o *readOptions) { o.offset = n } }

// ReadAfter begins with the event after one, by its ID.
func ReadAfter(id string) ReadOption { return func(o *readOptions) { o.after = id } }

// ReadContext bounds the call. Without it that is a minute.
func ReadContext(ctx context.Context) ReadOption { return func(o *readOptions) { o.ctx = ctx } }
