package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/cli/terminal"
	brokerpb "github.com/micro/platform/proto/broker"
)

func brokerCommand(c *cli) *cobra.Command {
	return group("broker", "Publish and subscribe", publishCommand(c), subscribeCommand(c))
}

func publishCommand(c *cli) *cobra.Command {
	var headers []string
	cmd := &cobra.Command{
		Use: "publish TOPIC MESSAGE", Short: "Publish a message to the current subscribers",
		Example: `  micro broker publish orders.new '{"id":7}'`,
		Args:    exactly("TOPIC", "MESSAGE"),
	}
	cmd.Flags().StringArrayVar(&headers, "header", nil, "`name=value` (repeatable)")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		m := &brokerpb.Message{Header: map[string]string{"Micro-Topic": args[0]}, Body: []byte(args[1])}
		if json.Valid(m.Body) {
			m.Header["Content-Type"] = "application/json"
		}
		for _, h := range headers {
			name, value, ok := strings.Cut(h, "=")
			if !ok || name == "" {
				return usage("--header is %q: write name=value", h)
			}
			m.Header[name] = value
		}
		_, err := brokerpb.NewBrokerClient(x.Conn).Publish(ctx, &brokerpb.PublishRequest{Topic: args[0], Message: m})
		return err
	})
	return cmd
}

// brokerMessage is a message as -o json prints it.
type brokerMessage struct {
	Topic  string            `json:"topic"`
	Header map[string]string `json:"header"`
	// Body is text, or JSON where the message is.
	Body any `json:"body"`
}

func subscribeCommand(c *cli) *cobra.Command {
	req := &brokerpb.SubscribeRequest{}
	var count int
	cmd := &cobra.Command{
		Use: "subscribe TOPIC", Short: "Subscribe to a topic and print its messages",
		Long:    `Prints messages as they come. In TOPIC, * is one level, > at the end one or more.`,
		Example: "  micro broker subscribe 'orders.*'",
		Args:    exactly("TOPIC"),
	}
	asJSON := outputFlag(cmd)
	cmd.Flags().StringVar(&req.Queue, "queue", "", "share the messages with the subscribers of the same `queue`")
	cmd.Flags().IntVarP(&count, "count", "n", 0, "stop after this `number` of messages")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		req.Topic = args[0]
		s, err := brokerpb.NewBrokerClient(x.Conn).Subscribe(ctx, req)
		if err != nil {
			return err
		}
		for n := 1; ; n++ {
			m, err := s.Recv()
			if err != nil {
				return err
			}
			if err := c.printMessage(m, inJSON); err != nil || n == count {
				return err
			}
		}
	})
	return cmd
}

// printMessage prints a message on one line.
func (c *cli) printMessage(m *brokerpb.Message, inJSON bool) error {
	if !inJSON {
		_, err := fmt.Fprintln(c.Out, terminal.Inert(string(m.GetBody())))
		return err
	}
	out := brokerMessage{Topic: m.GetHeader()["Micro-Topic"], Header: maps.Clone(m.GetHeader()), Body: string(m.GetBody())}
	if json.Valid(m.GetBody()) {
		out.Body = json.RawMessage(m.GetBody())
	}
	b, err := json.Marshal(out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.Out, terminal.Inert(string(b)))
	return err
}
