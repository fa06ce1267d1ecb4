package events

import (
	"context"
	"maps"
	"slices"
)

// source is where a group has its events from, and what it remembers of them.
type source interface {
	// next answers up to n events that the group has not had.
	next(ctx context.Context, n int) ([]entry, error)
	// left answers events that were given to processes that have ended, and with
	// own all that this process was given: an answer of Redis may have been lost.
	left(ctx context.Context, own bool) ([]entry, error)
	// again answers an event that is sent another time; false if it is gone.
	again(ctx context.Context, at position, attempt int64) (entry, bool, error)
	done(ctx context.Context, at []position) error
	bury(ctx context.Context, at position, blob []byte) error
	// leave gives up what is not acknowledged: what was sent to a consumer, and
	// what was not.
	leave(ctx context.Context, sent, unsent []position) error
}

// The names under which a process leaves events to the others of a group.
const (
	leftSent   = "(sent)"
	leftUnsent = "(unsent)"
)

const (
	// takePage and maxTakenBytes bound what is taken over at once, in events and
	// in bytes of them.
	takePage      = 500
	maxTakenBytes = 1 << 20
)

// shared is a group with a name. Redis remembers it.
type shared struct {
	db      db
	room    *room
	topic   topic
	group   string
	process string
}

func (s shared) next(ctx context.Context, n int) ([]entry, error) {
	return s.db.readGroup(ctx, s.topic, s.group, s.process, n)
}

func (s shared) left(ctx context.Context, own bool) ([]entry, error) {
	pending, err := s.db.processes(ctx, s.topic, s.group)
	if err != nil {
		return nil, err
	}
	mine := pending[s.process]
	delete(pending, s.process)
	alive := map[string]bool{}
	if len(pending) > 0 {
		if alive, err = s.db.alive(ctx, slices.Collect(maps.Keys(pending))); err != nil {
			return nil, err
		}
	}
	var out []entry
	if own && mine > 0 {
		if out, err = s.takeAll(ctx, s.process, 0, out); err != nil {
			return nil, err
		}
	}
	for name := range pending {
		if alive[name] {
			continue
		}
		more := 0
		if name == leftSent {
			more = 1
		}
		if out, err = s.takeAll(ctx, name, more, out); err != nil {
			return nil, err
		}
		if err := s.db.forget(ctx, s.topic, s.group, name); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b entry) int { return a.at.compare(b.at) })
	return out, nil
}

// takeAll adds what was given to a process to out. All but the first megabyte
// stays in Redis until it is sent.
func (s shared) takeAll(ctx context.Context, from string, more int, out []entry) ([]entry, error) {
	kept := 0
	for after := (position{}); ; {
		taken, last, err := s.db.take(ctx, s.topic, s.group, s.process, from, more, after)
		if err != nil {
			return nil, err
		}
		if last == after {
			return out, nil
		}
		for _, e := range taken {
			if kept += len(e.blob); kept > maxTakenBytes {
				e.blob = nil
			}
			out = append(out, e)
		}
		after = last
	}
}

func (s shared) again(ctx context.Context, at position, attempt int64) (entry, bool, error) {
	return s.db.again(ctx, s.topic, s.group, s.process, at, attempt)
}

func (s shared) done(ctx context.Context, at []position) error {
	return s.db.done(ctx, s.topic, s.group, at)
}

func (s shared) bury(ctx context.Context, at position, blob []byte) error {
	if err := s.room.take(ctx, s.topic.deadTopic(), blob); err != nil {
		return err
	}
	return s.db.bury(ctx, s.topic, s.group, at, blob)
}

func (s shared) leave(ctx context.Context, sent, unsent []position) error {
	if err := s.db.give(ctx, s.topic, s.group, leftSent, sent); err != nil {
		return err
	}
	if err := s.db.give(ctx, s.topic, s.group, leftUnsent, unsent); err != nil || len(sent)+len(unsent) == 0 {
		return err
	}
	return s.db.wake(ctx, leftPrefix+s.topic.key())
}

// private is the group of one consumer that named none. It ends with it, so
// nothing of it is in Redis.
type private struct {
	db    db
	room  *room
	topic topic
	last  position // read; next alone uses it
}

func (p *private) next(ctx context.Context, n int) ([]entry, error) {
	entries, err := p.db.read(ctx, p.topic, p.last, n)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	for i := range entries {
		entries[i].attempt = 1
	}
	p.last = entries[len(entries)-1].at
	return entries, nil
}

func (p *private) left(context.Context, bool) ([]entry, error) { return nil, nil }

func (p *private) again(ctx context.Context, at position, attempt int64) (entry, bool, error) {
	e, ok, err := p.db.one(ctx, p.topic, at)
	e.attempt = attempt
	return e, ok, err
}

func (p *private) done(context.Context, []position) error { return nil }

func (p *private) bury(ctx context.Context, at position, blob []byte) error {
	if err := p.room.take(ctx, p.topic.deadTopic(), blob); err != nil {
		return err
	}
	return p.db.bury(ctx, p.topic, "", at, blob)
}

func (p *private) leave(context.Context, []position, []position) error { return nil }
