package meter

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Options say where a Log is and what it may take.
type Options struct {
	// Dir is the log's own directory.
	Dir string
	// Bytes bounds what is kept on disk; 0 is 1 GiB.
	Bytes int
	// Segment is the size of a file; 0 is 4 MiB.
	Segment int
}

const (
	defaultBytes   = 1 << 30
	defaultSegment = 4 << 20
)

// Log takes records. It is safe for concurrent use.
type Log struct {
	log  *slog.Logger
	opts Options
	id   ID
	lock *os.File
	now  func() time.Time
	wake chan struct{} // the shipper has something to do at once

	shipping sync.Mutex // one shipper at a time

	mu      sync.Mutex
	number  uint32 // of the last segment that was made
	current *segment
	spare   *segment   // takes over when current is full
	full    []*segment // to be shipped, the oldest first
	dropped int        // records there was no room for
	closed  bool
}

// Open opens a log in a directory, which no other process may have open, and
// finds what earlier ones have left there.
func Open(o Options, log *slog.Logger) (*Log, error) {
	o.Bytes, o.Segment = cmp.Or(o.Bytes, defaultBytes), cmp.Or(o.Segment, defaultSegment)
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(o.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s is in use by another process", o.Dir)
	}
	l := &Log{log: log, opts: o, lock: lock, now: time.Now, wake: make(chan struct{}, 1)}
	rand.Read(l.id[:]) //nolint:errcheck // never fails
	if err := l.start(); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

func (l *Log) start() (err error) {
	if l.full, err = l.leftovers(); err != nil {
		return err
	}
	l.current, err = l.make()
	return err
}

// leftovers opens what earlier processes have left, the oldest first.
func (l *Log) leftovers() ([]*segment, error) {
	paths, err := filepath.Glob(filepath.Join(l.opts.Dir, "*"+extension))
	if err != nil {
		return nil, err
	}
	var out []*segment
	for _, path := range paths {
		s, err := open(path)
		if errors.Is(err, errEmpty) { // its process ended while it made it
			if err := os.Remove(path); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil { // of a newer program, or damaged: a person decides
			l.log.Error("calls cannot be read and are not counted", "path", path, "error", err)
			continue
		}
		if lost := s.recover(); lost > 0 {
			l.log.Error("calls are damaged and not counted", "path", path, "bytes", lost)
		}
		out = append(out, s)
	}
	// Logs one after the other, each in the order of its segments.
	begun := map[ID]time.Time{}
	for _, s := range out {
		if t, ok := begun[s.log]; !ok || s.made.Before(t) {
			begun[s.log] = s.made
		}
	}
	slices.SortFunc(out, func(a, b *segment) int {
		return cmp.Or(begun[a.log].Compare(begun[b.log]), slices.Compare(a.log[:], b.log[:]), cmp.Compare(a.number, b.number))
	})
	return out, nil
}

// errFull says that there is no room for another segment.
var errFull = errors.New("the directory of counted calls is full")

// make makes the next segment. It wants mu held, but for the start.
func (l *Log) make() (*segment, error) {
	segments := len(l.full)
	for _, s := range []*segment{l.current, l.spare} {
		if s != nil {
			segments++
		}
	}
	if (segments+1)*l.opts.Segment > l.opts.Bytes {
		return nil, errFull
	}
	s, err := create(l.opts.Dir, l.id, l.number+1, l.opts.Segment, l.now())
	if err != nil {
		return nil, err
	}
	l.number++
	return s, nil
}

// Append adds a record. When the disk is full it is dropped, and the log says
// how many were: a call is answered all the same.
func (l *Log) Append(r *Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		l.dropped++
		return
	}
	if l.current.append(r) {
		return
	}
	if !l.rotate() {
		l.dropped++
		return
	}
	l.current.append(r)
}

// rotate puts an empty segment in the place of the full one. It wants mu held.
func (l *Log) rotate() bool {
	next := l.spare
	if next == nil {
		// Between two visits of the shipper, records find no room in vain: each
		// would ask the disk again.
		if l.dropped > 0 {
			return false
		}
		made, err := l.make()
		if err != nil {
			return false
		}
		next = made
	}
	l.full = append(l.full, l.current)
	l.current, l.spare = next, nil
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// prepare makes the segment that takes over next, so that no call waits for
// the disk.
func (l *Log) prepare() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.spare != nil {
		return nil
	}
	var err error
	l.spare, err = l.make()
	return err
}

// Backlog is how many bytes of records are in full segments, to be shipped.
func (l *Log) Backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, s := range l.full {
		n += s.end
	}
	return n
}

// Close ends the log: it ships what is there until ctx ends and leaves the rest
// for the next start.
func (l *Log) Close(ctx context.Context, send Sender) {
	l.mu.Lock()
	l.closed = true
	l.full = append(l.full, l.current)
	if l.spare != nil {
		l.full = append(l.full, l.spare)
	}
	l.current, l.spare = nil, nil
	l.mu.Unlock()
	if err := l.ship(ctx, send); err != nil {
		l.log.Info("counted calls are kept until the next start", "error", err)
	}
	l.release()
}

func (l *Log) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.full {
		s.unmap()
	}
	l.full = nil
	l.lock.Close()
}
