package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/cli/terminal"
	eventspb "github.com/micro/platform/proto/events"
)

// maxPublished bounds what publish reads from standard input, in bytes: more
// than an event may have.
const maxPublished = 2 << 20

func eventsCommand(c *cli) *cobra.Command {
	return group("events", "Publish and consume the events of the namespace",
		c.eventsPublish(), c.eventsConsume(), c.eventsRead(), c.eventsTopics(), c.eventsGroups(), c.eventsReplay(), c.eventsDelete(),
	)
}

func (c *cli) eventsPublish() *cobra.Command {
	var pairs map[string]string
	cmd := &cobra.Command{
		Use: "publish TOPIC PAYLOAD", Short: "Publish an event; PAYLOAD - is standard input", Args: exactly("TOPIC", "PAYLOAD"),
		Example: "  micro events publish orders '{\"id\":1}' --metadata kind=new",
	}
	cmd.Flags().StringToStringVarP(&pairs, "metadata", "m", nil, "`key=value`s that go with it")
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		payload := []byte(args[1])
		if args[1] == "-" {
			if payload, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxPublished)); err != nil {
				return err
			}
		}
		rsp, err := eventspb.NewStreamClient(x.Conn).Publish(ctx, &eventspb.PublishRequest{
			Topic: args[0], Namespace: x.Namespace, Payload: payload, Metadata: pairs, Timestamp: time.Now().Unix()})
		if err != nil {
			return err
		}
		if inJSON {
			return c.protoJSON(rsp)
		}
		fmt.Fprintln(c.Out, rsp.GetId())
		return nil
	})
	return cmd
}

func (c *cli) eventsRead() *cobra.Command {
	var req eventspb.ReadRequest
	var since string
	cmd := &cobra.Command{Use: "read TOPIC", Short: "Print past events, oldest first", Args: exactly("TOPIC")}
	f := cmd.Flags()
	f.Uint64VarP(&req.Limit, "limit", "l", 0, "maximum number of events, up to 1000; 0 is 250")
	f.Uint64Var(&req.Offset, "offset", 0, "number of records to skip")
	f.StringVar(&req.After, "after", "", "start after the event with this `id`")
	f.StringVar(&since, "since", "", "start at a `time`: 1h, 2006-01-02T15:04:05Z or unix seconds")
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		if req.Since, err = unixTime(since, time.Now()); err != nil {
			return err
		}
		req.Topic, req.Namespace = args[0], x.Namespace
		rsp, err := eventspb.NewStoreClient(x.Conn).Read(ctx, &req)
		if err != nil {
			return err
		}
		if inJSON {
			all := make([]shownEvent, 0, len(rsp.GetEvents()))
			for _, e := range rsp.GetEvents() {
				all = append(all, showEvent(e))
			}
			return c.JSON(all)
		}
		for _, e := range rsp.GetEvents() {
			if err := c.printEvent(e, false); err != nil {
				return err
			}
		}
		return nil
	})
	return cmd
}

func (c *cli) eventsTopics() *cobra.Command {
	cmd := &cobra.Command{Use: "topics", Short: "List the topics of the namespace", Args: exactly()}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := eventspb.NewTopicsClient(x.Conn).List(ctx, &eventspb.ListTopicsRequest{Namespace: x.Namespace})
		if err != nil {
			return err
		}
		if inJSON {
			return c.protoJSON(rsp)
		}
		rows := [][]string{{"TOPIC", "EVENTS", "BYTES", "GROUPS", "OLDEST", "NEWEST"}}
		for _, t := range rsp.GetTopics() {
			rows = append(rows, []string{t.GetName(), strconv.FormatInt(t.GetEvents(), 10), strconv.FormatInt(t.GetBytes(), 10),
				strconv.FormatInt(t.GetGroups(), 10), shownTime(t.GetFirstPublished()), shownTime(t.GetLastPublished())})
		}
		return c.Table(rows)
	})
	return cmd
}

func (c *cli) eventsGroups() *cobra.Command {
	cmd := &cobra.Command{Use: "groups TOPIC", Short: "List the groups of a topic and how far behind each is", Args: exactly("TOPIC")}
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		rsp, err := eventspb.NewGroupsClient(x.Conn).List(ctx, &eventspb.ListGroupsRequest{Topic: args[0], Namespace: x.Namespace})
		if err != nil {
			return err
		}
		if inJSON {
			return c.protoJSON(rsp)
		}
		rows := [][]string{{"GROUP", "LAG", "PENDING", "LAST"}}
		for _, g := range rsp.GetGroups() {
			rows = append(rows, []string{g.GetName(), strconv.FormatInt(g.GetLag(), 10), strconv.FormatInt(g.GetPending(), 10), g.GetLast()})
		}
		return c.Table(rows)
	})
	return cmd
}

func (c *cli) eventsReplay() *cobra.Command {
	var req eventspb.SeekRequest
	var since string
	cmd := &cobra.Command{
		Use: "replay TOPIC GROUP", Short: "Move a group to another position in the topic", Args: exactly("TOPIC", "GROUP"),
		Example: "  micro events replay orders billing --since 2h\n  micro events replay orders billing --start",
	}
	f := cmd.Flags()
	f.StringVar(&req.After, "after", "", "after the event with this `id`")
	f.StringVar(&since, "since", "", "from a `time`: 1h, 2006-01-02T15:04:05Z or unix seconds")
	f.BoolVar(&req.Start, "start", false, "from the oldest event")
	f.BoolVar(&req.End, "end", false, "from the next new event")
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		if req.Since, err = unixTime(since, time.Now()); err != nil {
			return err
		}
		req.Topic, req.Group, req.Namespace = args[0], args[1], x.Namespace
		rsp, err := eventspb.NewGroupsClient(x.Conn).Seek(ctx, &req)
		if err != nil {
			return err
		}
		if inJSON {
			return c.protoJSON(rsp)
		}
		fmt.Fprintf(c.Out, "group %s has %d events before it\n", terminal.OneLine(args[1]), rsp.GetLag())
		return nil
	})
	return cmd
}

func (c *cli) eventsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete TOPIC [GROUP]", Short: "Delete a topic with everything in it, or one of its groups", Args: atMost(2),
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			if len(args) == 0 {
				return usage("missing argument: TOPIC")
			}
			if len(args) == 2 {
				_, err := eventspb.NewGroupsClient(x.Conn).Delete(ctx, &eventspb.DeleteGroupRequest{Topic: args[0], Group: args[1], Namespace: x.Namespace})
				return err
			}
			_, err := eventspb.NewTopicsClient(x.Conn).Delete(ctx, &eventspb.DeleteTopicRequest{Topic: args[0], Namespace: x.Namespace})
			return err
		}),
	}
}

// shownEvent is an event as scripts have it. A payload that is JSON is part of
// it, text is a string, and anything else is in base64.
type shownEvent struct {
	ID        string            `json:"id"`
	Topic     string            `json:"topic"`
	Timestamp int64             `json:"timestamp"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	Payload   any               `json:"payload,omitempty"`
	Bytes     []byte            `json:"bytes,omitempty"`
}

func showEvent(e *eventspb.Event) shownEvent {
	v := shownEvent{ID: e.GetId(), Topic: e.GetTopic(), Timestamp: e.GetTimestamp(), Metadata: e.GetMetadata()}
	switch p := e.GetPayload(); {
	case json.Valid(p):
		v.Payload = json.RawMessage(p)
	case utf8.Valid(p):
		v.Payload = string(p)
	default:
		v.Bytes = p
	}
	return v
}

func (c *cli) printEvent(e *eventspb.Event, inJSON bool) error {
	if inJSON {
		return json.NewEncoder(c.Out).Encode(showEvent(e))
	}
	_, err := fmt.Fprintf(c.Out, "%s  %s  %s\n", shownTime(e.GetTimestamp()), e.GetId(), terminal.OneLine(string(e.GetPayload())))
	return err
}

func shownTime(unixSeconds int64) string {
	if unixSeconds == 0 {
		return ""
	}
	return time.Unix(unixSeconds, 0).UTC().Format(time.RFC3339)
}

// unixTime reads a time that people write, 0 for none.
func unixTime(text string, now time.Time) (int64, error) {
	if text == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d).Unix(), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.Unix(), nil
	}
	if n, err := strconv.ParseInt(strings.TrimPrefix(text, "@"), 10, 64); err == nil && n > 0 {
		return n, nil
	}
	return 0, usage("no time %q: write how long ago, such as 1h, or 2006-01-02T15:04:05Z, or unix seconds", text)
}
