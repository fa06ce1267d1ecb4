package export

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/archive"
	eventspb "github.com/micro/platform/proto/events"
	storepb "github.com/micro/platform/proto/store"
)

// page is how many records or events are read at once.
const page = 500

// records writes each table, in the order of its keys.
func (e *exporter) records(ctx context.Context) error {
	rsp, err := e.Store.Tables(ctx, &storepb.TablesRequest{Database: e.Namespace})
	if err != nil {
		return err
	}
	for _, table := range rsp.GetTables() {
		if err := e.begin(archive.Store, table); err != nil {
			return err
		}
		if err := e.table(ctx, table); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) table(ctx context.Context, table string) error {
	o := &storepb.ReadOptions{Database: e.Namespace, Table: table, Prefix: true, Limit: page}
	for {
		rsp, err := e.Store.Read(ctx, &storepb.ReadRequest{Options: o})
		if errors.Code(err) == codes.ResourceExhausted && o.Limit > 1 { // they are large
			o.Limit /= 4
			continue
		}
		if err != nil {
			return err
		}
		now := time.Now()
		for _, r := range rsp.GetRecords() {
			o.After = r.GetKey()
			if err := e.add(toRecord(r, now)); err != nil {
				return err
			}
		}
		if len(rsp.GetRecords()) < int(o.Limit) {
			return nil
		}
	}
}

func toRecord(r *storepb.Record, now time.Time) archive.Record {
	out := archive.Record{Key: r.GetKey(), Value: archive.ToText(r.GetValue()), Version: r.GetVersion()}
	if r.GetExpiryMs() > 0 {
		at := now.Add(time.Duration(r.GetExpiryMs()) * time.Millisecond).UTC().Truncate(time.Millisecond)
		out.Expires = &at
	}
	for k, f := range r.GetMetadata() {
		if out.Metadata == nil {
			out.Metadata = map[string]string{}
		}
		out.Metadata[k] = f.GetValue()
	}
	return out
}

// blob writes the blobs. One that is deleted meanwhile is left out.
func (e *exporter) blob(ctx context.Context) error {
	o := &storepb.BlobListOptions{Namespace: e.Namespace}
	rsp, err := e.Blobs.List(ctx, &storepb.BlobListRequest{Options: o})
	if err != nil {
		return err
	}
	if err := e.begin(archive.Blobs, ""); err != nil {
		return err
	}
	for _, b := range rsp.GetBlobs() {
		if err := e.oneBlob(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) oneBlob(ctx context.Context, b *storepb.Blob) error {
	stream, err := e.Blobs.Read(ctx, &storepb.BlobReadRequest{Key: b.GetKey(), Options: &storepb.BlobOptions{Namespace: e.Namespace}})
	if err != nil {
		return err
	}
	begun := false
	begin := func() error {
		if begun {
			return nil
		}
		begun = true
		return e.part.Object(archive.Blob{Key: b.GetKey(), ContentType: b.GetContentType(), Public: b.GetPublic(), Written: seconds(b.GetWritten())})
	}
	err = each(stream, func(m *storepb.BlobReadResponse) error {
		if err := begin(); err != nil {
			return err
		}
		_, err := e.part.Write(m.GetBlob())
		return err
	})
	if none(err) && !begun {
		return nil
	}
	if err != nil {
		return err
	}
	e.Progress(e.part.Name(), e.part.Records()+1)
	return begin() // an empty one
}

// topics writes the events of each topic, in their order, then where its groups
// are. A group that moves meanwhile gets some events again.
func (e *exporter) topics(ctx context.Context) error {
	rsp, err := e.Topics.List(ctx, &eventspb.ListTopicsRequest{Namespace: e.Namespace})
	if err != nil {
		return err
	}
	groups := map[string][]*eventspb.Group{}
	for _, t := range rsp.GetTopics() {
		// Groups first: where they are then, the events that follow reach.
		have, err := e.Groups.List(ctx, &eventspb.ListGroupsRequest{Topic: t.GetName(), Namespace: e.Namespace})
		if err != nil && !none(err) {
			return err
		}
		groups[t.GetName()] = have.GetGroups()
		if err := e.begin(archive.Events, t.GetName()); err != nil {
			return err
		}
		if err := e.topic(ctx, t.GetName()); err != nil {
			return err
		}
	}
	if err := e.begin(archive.Groups, ""); err != nil {
		return err
	}
	for _, t := range rsp.GetTopics() {
		for _, g := range groups[t.GetName()] {
			if err := e.add(archive.Group{Topic: t.GetName(), Name: g.GetName(), Last: g.GetLast(), FirstPending: g.GetFirstPending()}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *exporter) topic(ctx context.Context, topic string) error {
	req := &eventspb.ReadRequest{Topic: topic, Namespace: e.Namespace, Limit: page}
	for {
		rsp, err := e.Events.Read(ctx, req)
		if errors.Code(err) == codes.OutOfRange { // it has expired: what is left comes after it
			req.After = ""
			continue
		}
		if err != nil {
			return err
		}
		for _, x := range rsp.GetEvents() {
			if err := e.add(archive.Event{ID: x.GetId(), Timestamp: seconds(x.GetTimestamp()), Metadata: x.GetMetadata(), Payload: archive.ToText(x.GetPayload())}); err != nil {
				return err
			}
			req.After = x.GetId()
		}
		if len(rsp.GetEvents()) == 0 {
			return nil
		}
	}
}
