package events

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rate"
	"github.com/micro/platform/internal/tenants"
	eventspb "github.com/micro/platform/proto/events"
)

// Options come from MICRO_EVENTS_*.
type Options struct {
	Replicas     int           `env:"REPLICAS"      default:"0"          help:"replicas of Redis that must have an event before it is acknowledged to its publisher"`
	MaxAge       time.Duration `env:"MAX_AGE"       default:"720h"       help:"how long events are kept, where the namespace's plan does not say less"`
	MaxBytes     int64         `env:"MAX_BYTES"     default:"1073741824" help:"bytes of memory that a topic's events may take; the oldest go first"`
	MaxTopics    int           `env:"MAX_TOPICS"    default:"1000"       help:"topics that one namespace may have, where its plan does not say less; 0 is no limit"`
	MaxGroups    int           `env:"MAX_GROUPS"    default:"1000"       help:"groups that one topic may have"`
	MaxConsumers int           `env:"MAX_CONSUMERS" default:"5000"       help:"consumers that one namespace may have at a process"`
	Rate         int           `env:"RATE"          default:"50000"      help:"events that one namespace may publish in a second, where its plan does not say less; 0 is no limit"`
	Sweep        time.Duration `env:"SWEEP"         default:"1m"         help:"time between two looks for events to remove"`
	Scan         time.Duration `env:"SCAN"          default:"10s"        help:"time between two looks for events that a process which has died was given"`
}

// commandTimeout bounds one commit to Redis.
const commandTimeout = 20 * time.Second

// replicaTimeout bounds the wait for replicas. It is less than the client waits
// for any answer, which is 3 s.
const replicaTimeout = 2 * time.Second

// Component runs the service, alone or beside the others.
var Component = app.New("events", func(ctx context.Context, h *app.Host, o Options) error {
	client, err := h.Durable()
	if err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	limits, err := tenants.Open(h, nil)
	if err != nil {
		return err
	}
	volatile, err := h.Redis()
	if err != nil {
		return err
	}
	limiter := rate.New(volatile, h.Log)
	h.Go("rates", limiter.Run)
	svc := New(client, limits, limiter, h.Log, o)
	svc.Register(s)
	h.Go("work", svc.Run)
	return h.Serve(s)
})

// Service implements the Stream and Store RPCs.
type Service struct {
	eventspb.UnsafeStreamServer
	eventspb.UnsafeStoreServer

	db     db
	writer *writer
	hub    *hub
	limits limits
	room   *room
	log    *slog.Logger
	opts   Options
	now    func() time.Time
}

// New makes a Service on a durable Redis. It works while Run does.
func New(client redis.UniversalClient, t *tenants.Tenants, r *rate.Limiter, log *slog.Logger, o Options) *Service {
	d, l := db{client}, limits{t, r, o}
	return &Service{db: d, writer: newWriter(d, o.Replicas), hub: newHub(d, o, log), limits: l, room: newRoom(d, l, time.Now), log: log, opts: o, now: time.Now}
}

// Run writes what is published, wakes consumers and removes what has expired,
// until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.hub.run(ctx) })
	for range committers {
		g.Go(func() error { return s.writer.run(ctx) })
	}
	g.Go(func() error { return s.sweepLoop(ctx) })
	return g.Wait()
}

func exhausted(format string, args ...any) error {
	return errors.New(codes.ResourceExhausted, format, args...)
}

func unavailable(format string, args ...any) error {
	return errors.New(codes.Unavailable, format, args...)
}

// Publish implements Stream.
func (s *Service) Publish(ctx context.Context, req *eventspb.PublishRequest) (*eventspb.PublishResponse, error) {
	e := &eventspb.Event{Metadata: req.GetMetadata(), Payload: req.GetPayload(), Timestamp: req.GetTimestamp()}
	ids, err := s.publish(ctx, req.GetNamespace(), req.GetTopic(), e)
	if err != nil {
		return nil, err
	}
	return &eventspb.PublishResponse{Id: ids[0]}, nil
}

// PublishBatch implements Stream.
func (s *Service) PublishBatch(ctx context.Context, req *eventspb.PublishBatchRequest) (*eventspb.PublishBatchResponse, error) {
	if n := len(req.GetEvents()); n == 0 || n > maxBatch {
		return nil, invalid("a batch has 1 to %d events, got %d", maxBatch, n)
	}
	ids, err := s.publish(ctx, req.GetNamespace(), req.GetTopic(), req.GetEvents()...)
	if err != nil {
		return nil, err
	}
	return &eventspb.PublishBatchResponse{Ids: ids}, nil
}

func (s *Service) publish(ctx context.Context, namespace, name string, events ...*eventspb.Event) ([]string, error) {
	ns, err := identity.Admin(ctx, namespace)
	if err != nil {
		return nil, err
	}
	t, err := newTopic(ns, name)
	if err != nil {
		return nil, err
	}
	blobs := make([][]byte, len(events))
	for i, e := range events {
		if err := checkEvent(e); err != nil {
			return nil, err
		}
		kept := &eventspb.Event{Metadata: e.GetMetadata(), Payload: e.GetPayload(), Timestamp: e.GetTimestamp()}
		if kept.GetTimestamp() == 0 {
			kept.Timestamp = s.now().Unix()
		}
		if blobs[i], err = proto.Marshal(kept); err != nil {
			return nil, fmt.Errorf("encode event: %w", err)
		}
	}
	if err := s.limits.publish(ctx, ns, len(blobs)); err != nil {
		return nil, err
	}
	ids, err := s.write(ctx, t, blobs)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		ids[i] = t.eventID(id)
	}
	return ids, nil
}

// write writes events to a topic, and makes it if it is not there.
func (s *Service) write(ctx context.Context, t topic, blobs [][]byte) ([]string, error) {
	if err := s.room.take(ctx, t, blobs...); err != nil {
		return nil, err
	}
	ids, err := s.writer.write(ctx, t, blobs, false)
	if err != redis.Nil {
		return ids, err
	}
	err = s.makeTopic(ctx, t, func() error {
		ids, err = s.writer.write(ctx, t, blobs, true)
		return err
	})
	return ids, away("publish", err)
}

// makeTopic lists a topic before and after create makes its stream: before, so
// that no stream is ever unlisted; after, for it may have been removed meanwhile.
func (s *Service) makeTopic(ctx context.Context, t topic, create func() error) error {
	limit, err := s.limits.topics(ctx, t.namespace)
	if err == nil && t.dead {
		var letters bool // of a topic that is counted, as the platform makes them, too
		if letters, err = s.db.exists(ctx, t.alive()); letters {
			limit = plans.Unlimited
		}
	}
	if err != nil {
		return err
	}
	if err := s.db.register(ctx, t, limit); err != nil {
		return err
	}
	if err := create(); err != nil {
		return err
	}
	return s.db.register(ctx, t, plans.Unlimited)
}

// maxAnswer bounds the events of one answer, in bytes.
const maxAnswer = 8 << 20

// readPage is how many events are read at once, until it is known that they are
// small.
const readPage = 16

// Read implements Store.
func (s *Service) Read(ctx context.Context, req *eventspb.ReadRequest) (*eventspb.ReadResponse, error) {
	ns, err := identity.Admin(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	t, err := newTopic(ns, req.GetTopic())
	if err != nil {
		return nil, err
	}
	if err := checkRead(req, s.now()); err != nil {
		return nil, err
	}
	rsp, err := s.read(ctx, t, req)
	return rsp, away("read", err)
}

func (s *Service) read(ctx context.Context, t topic, req *eventspb.ReadRequest) (*eventspb.ReadResponse, error) {
	var after position
	if req.GetSince() > 0 {
		after = since(req.GetSince())
	}
	if req.GetAfter() != "" {
		newest, trimmed, err := s.db.span(ctx, t)
		if err != nil {
			return nil, err
		}
		if after, err = t.place(req.GetAfter(), newest, trimmed); err != nil {
			return nil, err
		}
	}
	limit := int(req.GetLimit())
	if limit == 0 {
		limit = defaultRead
	}
	after, err := s.db.skip(ctx, t, after, int(req.GetOffset()))
	if err != nil {
		return nil, err
	}
	rsp, size := &eventspb.ReadResponse{}, 0
	for len(rsp.Events) < limit {
		page := readPage
		if n := len(rsp.Events); n > 0 {
			page = max(1, (maxAnswer-size)/max(1, size/n))
		}
		entries, err := s.db.read(ctx, t, after, min(page, limit-len(rsp.Events)))
		if err != nil || len(entries) == 0 {
			return rsp, err
		}
		for _, e := range entries {
			if size += len(e.blob); size > maxAnswer && len(rsp.Events) > 0 {
				return rsp, nil
			}
			event, err := t.event(e)
			if err != nil {
				return nil, err
			}
			rsp.Events, after = append(rsp.Events, event), e.at
		}
	}
	return rsp, nil
}

// Write implements Store, as Micro always did.
func (s *Service) Write(ctx context.Context, _ *eventspb.WriteRequest) (*eventspb.WriteResponse, error) {
	return nil, errors.New(codes.Unimplemented, "Writing to the store directly is not supported")
}
