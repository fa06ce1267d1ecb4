package events

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

const (
	// maxCommit bounds what is written at once, in events and in bytes.
	maxCommit      = 512
	maxCommitBytes = 4 << 20
	// committers is how many commits are under way at once: while one waits for
	// the disk, the next fills.
	committers = 3
	// maxQueued bounds the publishers that wait.
	maxQueued = 4096
)

// add is an XADD that the client does not send again when its answer is lost, as
// the client of a cluster otherwise would: the event would be there twice.
type add struct{ *redis.StringCmd }

// NoRetry implements redis.Cmder.
func (add) NoRetry() bool { return true }

// newAdd adds an event to a stream, which create makes if it is not there.
func newAdd(ctx context.Context, key string, blob []byte, create bool) add {
	args := []any{"XADD", key, "NOMKSTREAM", "*", blobField, blob}
	if create {
		args = []any{"XADD", key, "*", blobField, blob}
	}
	return add{redis.NewStringCmd(ctx, args...)}
}

// newAddAt adds an event of the past to a stream, with the id that it had.
func newAddAt(ctx context.Context, key string, blob []byte, at position) add {
	return add{redis.NewStringCmd(ctx, "XADD", key, at.String(), blobField, blob)}
}

// isOld says whether an event of the past was not added, since the stream has
// one of that id or a later one.
func isOld(err error) bool {
	return err != nil && strings.Contains(err.Error(), "equal or smaller than the target stream top item")
}

// wakeChannel is where processes hear that a topic has something new: its key.
const wakeChannel = "events:wake"

// write is one publisher's events for one topic.
type write struct {
	topic  topic
	blobs  [][]byte
	at     []position // of events of the past; nil is now
	create bool       // the stream, if it is not there
	result chan written
}

type written struct {
	ids []string // "" is an event of the past that was left out
	err error
}

func (w write) size() int {
	n := 0
	for _, b := range w.blobs {
		n += len(b)
	}
	return n
}

// writer writes what many publishers have at the same time in one go, since
// Redis syncs its disk once for all that it reads at once.
type writer struct {
	db       db
	replicas int
	queue    chan write
}

func newWriter(d db, replicas int) *writer {
	return &writer{db: d, replicas: replicas, queue: make(chan write, maxQueued)}
}

// write answers the ids of the events when they are kept. redis.Nil says that
// the topic is not there and create was not asked for.
func (w *writer) write(ctx context.Context, t topic, blobs [][]byte, create bool) ([]string, error) {
	return w.put(ctx, write{topic: t, blobs: blobs, create: create})
}

func (w *writer) put(ctx context.Context, x write) ([]string, error) {
	result := make(chan written, 1)
	x.result = result
	select {
	case w.queue <- x:
	case <-ctx.Done():
		return nil, errors.New(codes.Unavailable, "events are not available now, try again").Because(ctx.Err())
	}
	select {
	case r := <-result:
		return r.ids, r.err
	case <-ctx.Done():
		return nil, errors.New(codes.DeadlineExceeded, "the event may have been published or not: Redis has not answered").Because(ctx.Err())
	}
}

// run commits until ctx ends.
func (w *writer) run(ctx context.Context) error {
	for {
		var batch []write
		select {
		case <-ctx.Done():
			return nil
		case first := <-w.queue:
			batch = w.fill(first)
		}
		w.commit(ctx, batch)
	}
}

// fill adds to a write what waits behind it.
func (w *writer) fill(first write) []write {
	batch, events, bytes := []write{first}, len(first.blobs), first.size()
	for events < maxCommit && bytes < maxCommitBytes {
		select {
		case next := <-w.queue:
			batch, events, bytes = append(batch, next), events+len(next.blobs), bytes+next.size()
		default:
			return batch
		}
	}
	return batch
}

// commit writes a batch and answers the publishers.
func (w *writer) commit(ctx context.Context, batch []write) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if w.replicas == 0 {
		w.commitAt(ctx, w.db.client.Pipeline(), batch)
		return
	}
	// WAIT counts what its own connection has written, so each node gets a
	// pipeline of its own.
	nodes := map[*redis.Client][]write{}
	for _, x := range batch {
		node, err := w.db.node(ctx, x.topic.key())
		if err != nil {
			x.result <- written{err: away("find the node of a topic", err)}
			continue
		}
		nodes[node] = append(nodes[node], x)
	}
	for node, part := range nodes {
		w.commitAt(ctx, node.Pipeline(), part)
	}
}

func (d db) node(ctx context.Context, key string) (*redis.Client, error) {
	switch c := d.client.(type) {
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, key)
	case *redis.Client:
		return c, nil
	default:
		return nil, fmt.Errorf("unknown kind of Redis client %T", c)
	}
}

func (w *writer) commitAt(ctx context.Context, p redis.Pipeliner, batch []write) {
	added := make([][]*redis.StringCmd, len(batch))
	woken := map[string]bool{}
	for i, x := range batch {
		for n, blob := range x.blobs {
			cmd := newAdd(ctx, x.topic.key(), blob, x.create)
			if x.at != nil {
				cmd = newAddAt(ctx, x.topic.key(), blob, x.at[n])
			}
			_ = p.Process(ctx, cmd) // it waits for Exec
			added[i] = append(added[i], cmd.StringCmd)
		}
		woken[x.topic.key()] = true
	}
	var synced *redis.Cmd
	if w.replicas > 0 {
		synced = p.Do(ctx, "WAIT", w.replicas, replicaTimeout.Milliseconds())
	}
	for key := range woken {
		p.Publish(ctx, wakeChannel, key)
	}
	_, execErr := p.Exec(ctx)
	if c, ok := w.db.client.(*redis.ClusterClient); ok && w.replicas > 0 && execErr != nil {
		c.ReloadState(ctx) // a pipeline of one node follows no topic that has moved
	}
	for i, x := range batch {
		r := collect(added[i], execErr)
		if r.err == nil && synced != nil {
			if have, err := synced.Int(); err != nil || have < w.replicas {
				r.err = errors.New(codes.Unavailable, "the event may have been published or not: too few replicas have it yet").Because(err)
			}
		}
		x.result <- r
	}
}

func collect(added []*redis.StringCmd, execErr error) written {
	var r written
	for _, c := range added {
		id, err := c.Result()
		switch {
		case err == redis.Nil:
			r.err = redis.Nil
		case isOld(err):
			r.ids = append(r.ids, "")
		case err != nil:
			r.err = away("publish", err)
		case id == "": // it was never sent
			r.err = away("publish", execErr)
		default:
			r.ids = append(r.ids, id)
		}
		if r.err != nil {
			return r
		}
	}
	return r
}
