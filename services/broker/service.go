package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pause"
	brokerpb "github.com/micro/platform/proto/broker"
)

// Options come from MICRO_BROKER_*.
type Options struct {
	Subscribers    int           `env:"SUBSCRIBERS"  default:"1000"    help:"subscribers that one namespace may have at one process"`
	Buffer         int           `env:"BUFFER"       default:"1024"    help:"messages that may wait for one subscriber; then it is ended"`
	BufferBytes    int           `env:"BUFFER_BYTES" default:"4194304" help:"bytes that may wait for one subscriber; then it is ended"`
	NamespaceBytes int           `env:"NAMESPACE_BYTES" default:"67108864" help:"bytes that may wait for all subscribers of a namespace at one process; then that with most of them is ended"`
	Wait           time.Duration `env:"WAIT" default:"1m" help:"how long a message may wait for a subscriber; then it is ended"`
}

// Component runs the service, alone or beside the others.
var Component = app.New("broker", func(_ context.Context, h *app.Host, o Options) error {
	r, err := h.Redis()
	if err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	svc := New(r, h.Log, o)
	brokerpb.RegisterBrokerServer(s, svc)
	h.Go("listen", svc.Listen)
	return h.Serve(s)
})

// Service implements the Broker RPCs.
type Service struct {
	brokerpb.UnsafeBrokerServer

	redis redis.UniversalClient
	bus   *bus
	opts  Options
	// refusal is the wait before a Subscribe is refused: Micro's clients try
	// again at once and for ever.
	refusal time.Duration
}

// New makes a Service. Subscribe needs Listen running.
func New(r redis.UniversalClient, log *slog.Logger, o Options) *Service {
	return &Service{redis: r, bus: newBus(r, log, o), opts: o, refusal: time.Second}
}

// Listen brings messages to the subscribers until ctx ends.
func (s *Service) Listen(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.bus.run(ctx) })
	g.Go(func() error { return s.bus.hearLoop(ctx) })
	g.Go(func() error { return s.bus.lateLoop(ctx) })
	g.Go(func() error { return s.bus.tellLoop(ctx) })
	return g.Wait()
}

// Publish implements Broker.
func (s *Service) Publish(ctx context.Context, req *brokerpb.PublishRequest) (*brokerpb.Empty, error) {
	caller, err := identity.Require(ctx)
	if err != nil {
		return nil, denied(err)
	}
	if err := checkMessage(req.GetMessage()); err != nil {
		return nil, err
	}
	if err := checkTopic(req.GetTopic()); err != nil {
		return nil, err
	}
	incoming := func(name string) string {
		if v := metadata.ValueFromIncomingContext(ctx, name); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	message, err := proto.Marshal(&brokerpb.Message{
		Header: headers(req.GetMessage().GetHeader(), caller.Namespace, req.GetTopic(), incoming),
		Body:   req.GetMessage().GetBody(),
	})
	if err != nil {
		return nil, invalid("a header is not UTF-8")
	}
	if err := publish(ctx, s.redis, caller.Namespace, req.GetTopic(), queue{}, message); err != nil {
		return nil, errors.New(codes.Unavailable, "the message was not handed over, try again").Because(err)
	}
	return &brokerpb.Empty{}, nil
}

// denied says it in the words of Micro.
func denied(err error) error {
	return errors.New(codes.Unauthenticated, "access denied to namespace: %v", err)
}

// Subscribe implements Broker.
func (s *Service) Subscribe(req *brokerpb.SubscribeRequest, stream grpc.ServerStreamingServer[brokerpb.Message]) error {
	ctx := stream.Context()
	sub, err := s.subscribe(ctx, req)
	if err != nil {
		pause.For(ctx, s.refusal) //nolint:errcheck // both ways it is refused
		return err
	}
	defer s.bus.remove(sub)
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	// Send may wait for a subscriber that does not read. Then this method
	// returns, which ends the stream and so the waiting.
	ended := make(chan error, 1)
	go func() { ended <- sub.pump(ctx, stream.Send) }()
	select {
	case err := <-ended:
		return err
	case <-sub.full:
		return sub.tooSlow()
	}
}

func (s *Service) subscribe(ctx context.Context, req *brokerpb.SubscribeRequest) (*subscriber, error) {
	caller, err := identity.Require(ctx)
	if err != nil {
		return nil, denied(err)
	}
	if err := checkSubscription(req.GetTopic(), req.GetQueue()); err != nil {
		return nil, err
	}
	sub := newSubscriber(caller.Namespace, req.GetTopic(), req.GetQueue(), s.opts)
	return sub, s.bus.add(ctx, sub)
}
