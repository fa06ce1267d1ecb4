package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/micro/platform/framework/errors"
	eventspb "github.com/micro/platform/proto/events"
)

const (
	// quiet is how long nothing comes before consume ends that does not follow.
	quiet = time.Second
	// leaving is how long consume waits for its last answer to be taken.
	leaving = 2 * time.Second
)

func (c *cli) eventsConsume() *cobra.Command {
	var req eventspb.ConsumeRequest
	var follow bool
	var since string
	cmd := &cobra.Command{
		Use: "consume TOPIC", Short: "Consume the events of a topic, alone or as a member of a group", Args: exactly("TOPIC"),
		Long: "Prints events as they come. With --group they count as done for that group, and\n" +
			"the next consumer goes on after them. Without --follow it ends when nothing has\ncome for a second.",
		Example: "  micro events consume -f orders\n  micro events consume --group audit --since 24h orders",
	}
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "keep waiting for new events")
	f.StringVarP(&req.Group, "group", "g", "", "`name` of the group to consume as")
	f.StringVar(&since, "since", "", "start at a `time`: 1h, 2006-01-02T15:04:05Z or unix seconds")
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		if req.Offset, err = unixTime(since, time.Now()); err != nil {
			return err
		}
		req.Topic, req.Namespace, req.RetryLimit, req.AckWait = args[0], x.Namespace, -1, int64(time.Minute)
		idle := quiet
		if follow {
			idle = 0
		}
		return consumeEvents(ctx, eventspb.NewStreamClient(x.Conn), &req, idle, func(e *eventspb.Event) error { return c.printEvent(e, inJSON) })
	})
	return cmd
}

// consumeEvents acknowledges each event once it was printed. It ends with ctx,
// or when nothing has come for idle, unless that is 0, and then waits until the
// platform has its answers: what was printed does not come again.
func consumeEvents(ctx context.Context, api eventspb.StreamClient, req *eventspb.ConsumeRequest, idle time.Duration, printed func(*eventspb.Event) error) error {
	open, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stream, err := api.Consume(open)
	if err != nil {
		return err
	}
	if err := stream.Send(req); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	events, ended := make(chan *eventspb.Event), make(chan error, 1)
	go func() { ended <- receive(open, stream, events) }()
	for {
		var over <-chan time.Time
		if idle > 0 {
			over = time.After(idle)
		}
		select {
		case e := <-events:
			if err := printed(e); err != nil {
				return err
			}
			answer := &eventspb.ConsumeRequest{Ack: &eventspb.AckRequest{Id: e.GetId(), Success: true}}
			if err := stream.Send(answer); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			continue
		case err := <-ended:
			return err
		case <-ctx.Done():
		case <-over:
		}
		if stream.CloseSend() == nil {
			select {
			case <-events: // it is not acknowledged, and comes again
			case <-ended:
			case <-time.After(leaving):
			}
		}
		return nil
	}
}

func receive(ctx context.Context, stream eventspb.Stream_ConsumeClient, events chan<- *eventspb.Event) error {
	for {
		e, err := stream.Recv()
		if err != nil {
			return err
		}
		select {
		case events <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
