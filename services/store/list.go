package store

import (
	"context"
	"math"
)

// listing is what a request wants of a table.
type listing struct {
	prefix, suffix string
	limit, offset  uint64
	order          string // "desc", or anything for ascending
	after          string
	records        bool // not the keys only
}

func (l listing) check() error {
	if err := checkText("prefix", l.prefix); err != nil {
		return err
	}
	if err := checkText("suffix", l.suffix); err != nil {
		return err
	}
	if err := checkText("after", l.after); err != nil {
		return err
	}
	if l.limit > math.MaxInt64 {
		return invalid("limit %d is too large, or was negative: 0 is none", l.limit)
	}
	if l.offset > math.MaxInt64 {
		return invalid("offset %d is too large, or was negative", l.offset)
	}
	return nil
}

// first answers the query for the first page.
func (l listing) first() query {
	q := query{first: l.prefix, past: prefixEnd(l.prefix), desc: l.order == "desc", suffix: l.suffix}
	if l.after == "" {
		return q
	}
	if q.desc {
		q.past = lower(q.past, l.after)
	} else {
		q.first = max(q.first, l.after+"\x00")
	}
	return q
}

// lower answers the lower of two ends, of which "" is the highest.
func lower(end, other string) string {
	if end == "" {
		return other
	}
	return min(end, other)
}

// walk hands over the rows of a listing, page by page and in order. An offset
// costs nothing but with a suffix, where the table is gone through anyway.
func (s *Service) walk(ctx context.Context, u unit, l listing, each func([]row) error) error {
	if err := l.check(); err != nil {
		return err
	}
	q := l.first()
	skip := int64(l.offset)
	if l.suffix == "" {
		q.skip, skip = skip, 0
	}
	left := int64(l.limit)
	if left == 0 {
		left = math.MaxInt64
	}
	for {
		q.look = pageKeys
		if l.suffix == "" {
			q.look = min(left, pageKeys)
		}
		if l.records {
			q.bytes = pageBytes
		}
		p, err := s.db.list(ctx, u, q)
		if err != nil {
			return err
		}
		dropped := min(skip, int64(len(p.rows)))
		rows := p.rows[dropped:]
		skip -= dropped
		rows = rows[:min(left, int64(len(rows)))]
		left -= int64(len(rows))
		if len(rows) > 0 {
			if err := each(rows); err != nil {
				return err
			}
		}
		if !p.more || left == 0 {
			return nil
		}
		q.skip = 0
		if q.desc {
			q.past = p.last
		} else {
			q.first = p.last + "\x00"
		}
	}
}
