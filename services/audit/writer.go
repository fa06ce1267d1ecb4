package audit

import (
	"context"
	"log/slog"
	"time"
)

// Bounds of the writer.
const (
	queueLength = 1024
	maxBatch    = 256 // rows of one transaction
	writeWithin = 5 * time.Second
)

// writer adds rows to the log. Those that come while a transaction is under way
// go into the next one together, so that many callers share the disk's time.
type writer struct {
	db    db
	log   *slog.Logger
	queue chan *pending
}

// pending is a row on its way. done gets one answer, which nobody needs to take.
type pending struct {
	row  row
	done chan error
}

func newWriter(d db, log *slog.Logger) *writer {
	return &writer{db: d, log: log, queue: make(chan *pending, queueLength)}
}

// put queues a row.
func (w *writer) put(ctx context.Context, r row) (*pending, error) {
	p := &pending{row: r, done: make(chan error, 1)}
	select {
	case w.queue <- p:
		return p, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// add queues a row, waits until it is on disk, and answers its id.
func (w *writer) add(ctx context.Context, r row) (int64, error) {
	p, err := w.put(ctx, r)
	if err != nil {
		return 0, err
	}
	select {
	case err := <-p.done:
		return p.row.ID, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// run writes until ctx ends, and what is queued then.
func (w *writer) run(ctx context.Context) error {
	for {
		select {
		case p := <-w.queue:
			w.write(context.WithoutCancel(ctx), w.collect(p))
		case <-ctx.Done():
			for len(w.queue) > 0 {
				w.write(context.WithoutCancel(ctx), w.collect(<-w.queue))
			}
			return nil
		}
	}
}

// collect answers a row and those that are behind it already.
func (w *writer) collect(first *pending) []*pending {
	batch := []*pending{first}
	for len(batch) < maxBatch {
		select {
		case p := <-w.queue:
			batch = append(batch, p)
		default:
			return batch
		}
	}
	return batch
}

func (w *writer) write(ctx context.Context, batch []*pending) {
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	rows := make([]*row, len(batch))
	for i, p := range batch {
		rows[i] = &p.row
	}
	results, err := w.db.add(ctx, rows)
	if err != nil {
		w.log.ErrorContext(ctx, "the audit log cannot be written", "rows", len(rows), "error", err)
	}
	for i, p := range batch {
		if err != nil {
			p.done <- err
			continue
		}
		p.done <- results[i]
	}
}
