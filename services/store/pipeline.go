package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// Bounds of a pipeline.
const (
	// How many batches are on their way at once. While Redis waits for its disk,
	// the next batch of writes is sent; reads wait for nothing, and a larger batch
	// is cheaper.
	readFlights  = 1
	writeFlights = 2
	// A batch that is on its way for longer than lateAfter holds nobody else up:
	// others go over another connection. Redis answers in milliseconds, and a
	// connection whose host is gone breaks after rpc.Silence and a look, before maxLate
	// such batches are on their way.
	lateAfter = 200 * time.Millisecond
	maxLate   = 6
	// maxWaiting and maxWaitingBytes are how many commands wait for a flight.
	maxWaiting      = 8192
	maxWaitingBytes = 256 << 20
	// A batch is full with this many commands, or bytes of them.
	batchCommands = 128
	batchBytes    = 1 << 20
)

// pipeline sends what many callers ask of one Redis at the same time together:
// a batch costs the system calls, and for writes the sync of the disk, of one
// command. Nobody is waited for: a command goes out at once, unless others are
// on their way, and then with all that have come meanwhile. Commands of a batch
// are as independent of each other as those of different connections.
type pipeline struct {
	redis      *redis.Client
	maxFlights int
	// replicas must have a batch before it is answered.
	replicas int

	mu      sync.Mutex
	waiting []*asked
	bytes   int // of those who wait
	flights int
	late    int // of the flights
}

// asked is a command whose caller waits.
type asked struct {
	ctx   context.Context //nolint:containedctx // the caller's, to see whether it still waits
	cmd   *redis.Cmd
	bytes int
	done  chan struct{}
}

// do runs a command. It is not sent again when its answer got lost, for it may
// have been done. Without an answer in time, cmd belongs to the pipeline.
func (p *pipeline) do(ctx context.Context, cmd *redis.Cmd, bytes int) error {
	a := &asked{ctx: ctx, cmd: cmd, bytes: bytes, done: make(chan struct{})}
	p.mu.Lock()
	if len(p.waiting) >= maxWaiting || p.bytes > maxWaitingBytes {
		p.mu.Unlock()
		return errors.New(codes.Unavailable, "the store has more to do than it can, try again later")
	}
	p.waiting = append(p.waiting, a)
	p.bytes += bytes
	p.start()
	p.mu.Unlock()
	select {
	case <-a.done:
		return cmd.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start starts another flight, if it may and somebody waits. It holds the lock.
func (p *pipeline) start() {
	if len(p.waiting) > 0 && p.late < maxLate && p.flights-p.late < p.most() {
		p.flights++
		go p.fly() // ends when nobody waits, or another flies in its place
	}
}

// most is how many flights there may be beside those that are late. It holds the
// lock.
func (p *pipeline) most() int {
	if p.late > 0 {
		return 1 // else there would soon be maxLate
	}
	return p.maxFlights
}

// fly sends batches until nobody waits.
func (p *pipeline) fly() {
	for {
		batch := p.take()
		if batch == nil {
			return
		}
		late := time.AfterFunc(lateAfter, p.beLate)
		p.send(batch)
		if !late.Stop() {
			p.arrive()
		}
		for _, a := range batch {
			close(a.done)
		}
	}
}

// beLate lets others pass a flight.
func (p *pipeline) beLate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late++
	p.start()
}

// arrive has a flight that was late be like any other.
func (p *pipeline) arrive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late--
}

// take answers the next batch; nil ends the flight. Those who have left are left
// out.
func (p *pipeline) take() []*asked {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flights-p.late > p.most() { // others fly in its place
		p.flights--
		return nil
	}
	var batch []*asked
	bytes, n := 0, 0
	for ; n < len(p.waiting) && len(batch) < batchCommands; n++ {
		a := p.waiting[n]
		if len(batch) > 0 && bytes+a.bytes > batchBytes {
			break
		}
		p.bytes -= a.bytes
		if a.ctx.Err() == nil {
			bytes += a.bytes
			batch = append(batch, a)
		}
	}
	if p.waiting = p.waiting[n:]; len(p.waiting) == 0 {
		p.waiting = nil // its memory goes
	}
	if batch == nil {
		p.flights--
	}
	return batch
}

// send sends a batch and notes its answers. What bounds it is the client's
// time-outs: a caller that leaves must not end it for the others.
func (p *pipeline) send(batch []*asked) {
	ctx := context.Background()
	pipe := p.redis.Pipeline()
	for _, a := range batch {
		_ = pipe.Process(ctx, once{a.cmd}) // queued, no more
	}
	var waited *redis.IntCmd
	if p.replicas > 0 {
		waited = redis.NewIntCmd(ctx, "wait", p.replicas, replicaTimeout.Milliseconds()) // on the connection that wrote
		_ = pipe.Process(ctx, waited)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	if waited == nil {
		return
	}
	if err := enough(waited, p.replicas); err != nil {
		for _, a := range batch {
			if a.cmd.Err() == nil {
				a.cmd.SetErr(err)
			}
		}
	}
}

func enough(waited *redis.IntCmd, replicas int) error {
	n, err := waited.Result()
	if err == nil && int(n) < replicas {
		err = fmt.Errorf("%d of %d replicas have answered", n, replicas)
	}
	if err != nil {
		return fmt.Errorf("wait for replicas: %w", err)
	}
	return nil
}

// once is a command that go-redis does not send again.
type once struct{ *redis.Cmd }

// NoRetry implements redis.Cmder.
func (once) NoRetry() bool { return true }

// pipelines are those of the nodes of a Redis.
type pipelines struct {
	flights, replicas int

	mu sync.Mutex
	of map[*redis.Client]*pipeline
}

func newPipelines(flights, replicas int) *pipelines {
	return &pipelines{flights: flights, replicas: replicas, of: map[*redis.Client]*pipeline{}}
}

// to answers the pipeline to a node.
func (ps *pipelines) to(node *redis.Client) *pipeline {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.of[node]
	if p == nil {
		p = &pipeline{redis: node, maxFlights: ps.flights, replicas: ps.replicas}
		ps.of[node] = p
	}
	return p
}

// replicaTimeout is how long replicas are waited for.
const replicaTimeout = 2 * time.Second

// script is a Lua script that runs in a pipeline.
type script struct{ text, hash string }

func newScript(text string) script { return script{text, redis.NewScript(text).Hash()} }

// run runs a script on the node that has its keys, in a batch with those of
// others.
func (d db) run(ctx context.Context, ps *pipelines, script script, keys []string, args []any) ([]any, error) {
	node, err := d.node(ctx, keys[0])
	if err != nil {
		return nil, err
	}
	all, bytes := call(script, keys, args)
	cmd := redis.NewCmd(ctx, all...)
	err = ps.to(node).do(ctx, cmd, bytes)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		if err := node.ScriptLoad(ctx, script.text).Err(); err != nil {
			return nil, err
		}
		cmd = redis.NewCmd(ctx, all...)
		err = ps.to(node).do(ctx, cmd, bytes)
	}
	if err == nil {
		return cmd.Slice()
	}
	cluster, ok := d.redis.(*redis.ClusterClient)
	if !ok || errors.Is(err, redis.Nil) {
		return nil, err
	}
	cluster.ReloadState(ctx) // the table may have moved, or its node may be gone
	if ps.replicas > 0 || !redis.HasErrorPrefix(err, "MOVED") && !redis.HasErrorPrefix(err, "ASK") {
		return nil, err
	}
	moved := redis.NewCmd(ctx, append([]any{"eval", script.text}, all[2:]...)...)
	if err := cluster.Process(ctx, once{moved}); err != nil {
		return nil, err
	}
	return moved.Slice()
}

// call answers a script's command, and about how many bytes it has.
func call(script script, keys []string, args []any) (all []any, bytes int) {
	all = make([]any, 0, 3+len(keys)+len(args))
	all = append(all, "evalsha", script.hash, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	for _, a := range args {
		switch a := a.(type) {
		case []byte:
			bytes += len(a)
		case string:
			bytes += len(a)
		}
	}
	return append(all, args...), bytes
}

// node answers the client of the server that has a key.
func (d db) node(ctx context.Context, key string) (*redis.Client, error) {
	switch c := d.redis.(type) {
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, key)
	case *redis.Client:
		return c, nil
	default:
		return nil, fmt.Errorf("the store runs on one Redis or on a cluster, not on %T", c)
	}
}
