package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/micro/platform/internal/identity"
	eventspb "github.com/micro/platform/proto/events"
	storepb "github.com/micro/platform/proto/store"
)

// stored counts what namespaces keep.
func (s *Service) stored(ctx context.Context) error {
	ctx = identity.AsComponent(ctx)
	if err := s.storedRecords(ctx); err != nil {
		return err
	}
	return s.storedEvents(ctx)
}

func (s *Service) storedRecords(ctx context.Context) error {
	for after := ""; ; {
		rsp, err := s.parts.store.Sizes(ctx, &storepb.SizesRequest{After: after})
		if err != nil {
			return fmt.Errorf("ask for sizes of records: %w", err)
		}
		if len(rsp.GetNamespaces()) == 0 {
			return nil
		}
		now := s.now()
		var readings []reading
		for _, x := range rsp.GetNamespaces() {
			after = x.GetNamespace()
			readings = append(readings, storedReading(after, "store", "records", x.GetRecords(), now), storedReading(after, "store", "blobs", x.GetBlobs(), now))
		}
		if err := s.count(ctx, readings); err != nil {
			return err
		}
	}
}

func (s *Service) storedEvents(ctx context.Context) error {
	for after := ""; ; {
		rsp, err := s.parts.events.Sizes(ctx, &eventspb.SizesRequest{After: after})
		if err != nil {
			return fmt.Errorf("ask for sizes of topics: %w", err)
		}
		if len(rsp.GetNamespaces()) == 0 {
			return nil
		}
		now := s.now()
		var readings []reading
		for _, x := range rsp.GetNamespaces() {
			after = x.GetNamespace()
			readings = append(readings, storedReading(after, "events", "events", x.GetBytes(), now))
		}
		if err := s.count(ctx, readings); err != nil {
			return err
		}
	}
}

// storedReading counts bytes for every second for which they were known to be
// kept: those of the reading before, until this one.
func storedReading(namespace, service, what string, bytes int64, now time.Time) reading {
	k := key{Namespace: namespace, Service: service}
	return reading{meterKey{namespace, "stored " + what}, now, func(was mark) (mark, tally) {
		bytes = min(max(bytes, 0), maxStored)
		if was.Till.IsZero() {
			return mark{Till: now, Value: bytes}, nil
		}
		rest := was.Rest
		is, t := wholeSeconds(was, was.Till, now, k, func(n int64) amounts {
			part := was.Value*(n%hour) + rest
			rest = part % hour
			return amounts{StoredByteHours: was.Value*(n/hour) + part/hour}
		})
		return mark{Till: is.Till, Value: bytes, Rest: rest}, t
	}}
}

const (
	hour = 3600 // seconds
	// maxStored keeps sums from overflowing: no namespace keeps more.
	maxStored = 1 << 50
)
