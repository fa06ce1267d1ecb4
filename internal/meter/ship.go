package meter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/micro/platform/internal/identity"
	usagepb "github.com/micro/platform/proto/usage"
)

const (
	// shipEvery is how often new records go out.
	shipEvery = 500 * time.Millisecond
	// shipWithin bounds the sending of a batch.
	shipWithin = 10 * time.Second
	// maxBatch is how many bytes of records go out at once.
	maxBatch = 512 << 10
	// tellEvery is how often the log says that shipping does not work.
	tellEvery = time.Minute
)

// Sender sends records to usage; a usagepb.ComponentsClient's Append is one.
type Sender func(context.Context, *usagepb.AppendRequest) (*usagepb.AppendResponse, error)

// Ship sends records until ctx ends. Close sends the last ones.
func (l *Log) Ship(ctx context.Context, send Sender) error {
	tick := time.NewTicker(shipEvery)
	defer tick.Stop()
	told := time.Time{}
	for {
		err := errors.Join(l.prepare(), l.ship(ctx, send), l.lost())
		if now := time.Now(); err != nil && ctx.Err() == nil && now.Sub(told) >= tellEvery {
			told = now
			l.log.Warn("counted calls wait to be shipped", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-l.wake:
		}
	}
}

// lost answers an error if records were dropped since it was last asked.
func (l *Log) lost() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dropped == 0 {
		return nil
	}
	defer func() { l.dropped = 0 }()
	return fmt.Errorf("%d calls are not counted: no room for them in %s", l.dropped, l.opts.Dir)
}

// ship sends everything there is, the oldest first.
func (l *Log) ship(ctx context.Context, send Sender) error {
	l.shipping.Lock()
	defer l.shipping.Unlock()
	for {
		s, end, growing := l.oldest()
		if s == nil {
			return nil
		}
		if err := l.shipTo(ctx, send, s, end); err != nil {
			return err
		}
		if growing {
			return nil
		}
		if err := l.drop(s); err != nil {
			return err
		}
	}
}

// oldest answers the next segment to ship, up to where it is to be shipped, and
// whether it still grows.
func (l *Log) oldest() (s *segment, end int, growing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.full) > 0 {
		return l.full[0], l.full[0].end, false
	}
	if l.current == nil {
		return nil, 0, false
	}
	return l.current, l.current.end, true
}

// drop deletes a segment that is shipped.
func (l *Log) drop(s *segment) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = l.full[1:]
	if err := s.remove(); err != nil {
		return fmt.Errorf("delete calls that were counted: %w", err)
	}
	return nil
}

// shipTo sends a segment's records up to end. The answer says how far usage has
// come, which is the truth: it may have more than this process knows of, sent
// before a crash, or less, after it was restored from a copy.
func (l *Log) shipTo(ctx context.Context, send Sender, s *segment, end int) error {
	for s.acked < end {
		data, err := s.cut(s.acked, end, maxBatch)
		if err != nil { // they were whole before: somebody has written to the file
			return fmt.Errorf("%s at %d: %w", s.path, s.acked, err)
		}
		folded, err := l.sendOne(ctx, send, s, data)
		if err != nil {
			return err
		}
		if folded == s.acked || folded < Begin {
			return fmt.Errorf("usage has folded up to %d of %s, sent were %d to %d", folded, s.path, s.acked, s.acked+len(data))
		}
		s.acked = min(folded, end) // less is there than was sent after a power cut
	}
	return nil
}

func (l *Log) sendOne(ctx context.Context, send Sender, s *segment, data []byte) (int, error) {
	ctx, cancel := context.WithTimeout(identity.AsComponent(ctx), shipWithin)
	defer cancel()
	rsp, err := send(ctx, &usagepb.AppendRequest{Log: s.log[:], Segment: s.number, Offset: uint64(s.acked), Data: data, Format: Format})
	if err != nil {
		return 0, err
	}
	return int(rsp.GetOffset()), nil
}
