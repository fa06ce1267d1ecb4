package usage

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/meter"
	usagepb "github.com/micro/platform/proto/usage"
)

// maxData bounds what Append takes at once, in bytes.
const maxData = 1 << 20

// Append implements Components.
func (s *Service) Append(ctx context.Context, req *usagepb.AppendRequest) (*usagepb.AppendResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if err := checkAppend(req); err != nil {
		return nil, err
	}
	var t tally
	folded, err := s.db.fold(ctx, req, func(data []byte) (_ tally, err error) {
		t, err = count(data, s.now(), func(namespace string, at time.Time) (bool, error) { return s.lost(ctx, namespace, at) })
		return t, err
	})
	if err != nil {
		return nil, err
	}
	for k := range t {
		s.keeper.mark(k.Namespace)
	}
	return &usagepb.AppendResponse{Offset: uint64(folded)}, nil
}

func checkAppend(req *usagepb.AppendRequest) error {
	switch {
	case req.GetFormat() == 0 || req.GetFormat() > meter.Format:
		return invalid("format %d of records is not known, this server reads 1 to %d", req.GetFormat(), meter.Format)
	case len(req.GetLog()) != len(meter.ID{}):
		return invalid("log has %d bytes, %d are expected", len(req.GetLog()), len(meter.ID{}))
	case req.GetSegment() == 0:
		return invalid("segment is missing: the first one is 1")
	case req.GetOffset() < meter.Begin || req.GetOffset() > math.MaxInt64-maxData:
		return invalid("offset %d is before the first record, which is at %d, or too large", req.GetOffset(), meter.Begin)
	case len(req.GetData()) == 0 || len(req.GetData()) > maxData:
		return invalid("data has %d bytes: 1 to %d are expected", len(req.GetData()), maxData)
	}
	return nil
}

// count adds up records, but for those that are lost.
func count(data []byte, now time.Time, lost func(namespace string, at time.Time) (bool, error)) (tally, error) {
	t := tally{}
	for len(data) > 0 {
		r, n, err := meter.Read(data)
		if err != nil {
			return nil, invalid("data: %v", err)
		}
		data = data[n:]
		at := plausible(r.At, now)
		if is, err := lost(r.Namespace, at); err != nil {
			return nil, err
		} else if is {
			continue
		}
		a := amounts{BytesIn: amount(r.BytesIn), BytesOut: amount(r.BytesOut)}
		if !r.Inside && r.Class != meter.Refused {
			a.EgressBytes = a.BytesOut
		}
		switch {
		case !r.Ended:
		case r.Class == meter.Refused:
			a.Refused = 1
		default:
			a.Calls = 1
		}
		t.add(key{
			Namespace: text(r.Namespace), Day: dayOf(at), Service: text(r.Service),
			Endpoint: text(r.Endpoint), Account: text(r.Account), Class: r.Class.String(),
		}, a)
	}
	return t, nil
}

// amount keeps a sum of amounts from overflowing: no call moves more than that.
func amount(n uint64) int64 { return int64(min(n, 1<<50)) }

// text is what Postgres takes as text.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
}

// plausible is when a record says that it was, or now if the clock of its edge
// is plainly wrong. Late is not wrong: an edge may have been cut off for long.
func plausible(t, now time.Time) time.Time {
	if t.After(now.Add(time.Hour)) || t.Before(now.AddDate(-1, 0, 0)) {
		return now
	}
	return t
}
