package events

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// hub has the groups that consumers of this process take part in, and wakes
// those whose topic has something new.
type hub struct {
	db      db
	process string // this one's name in the groups
	scan    time.Duration
	limit   int // consumers of a namespace
	log     *slog.Logger
	started chan *group // to be run

	mu        sync.Mutex
	shared    map[groupKey]*group
	byTopic   map[string]map[*group]bool // by the stream's key
	consumers map[string]int             // by namespace
}

type groupKey struct{ stream, group string }

func newHub(d db, o Options, log *slog.Logger) *hub {
	b := make([]byte, 8)
	rand.Read(b)
	return &hub{db: d, process: hex.EncodeToString(b), scan: o.Scan, limit: o.MaxConsumers, log: log, started: make(chan *group),
		shared: map[groupKey]*group{}, byTopic: map[string]map[*group]bool{}, consumers: map[string]int{}}
}

// processChannel is open as long as a process is there.
func processChannel(process string) string { return "events:process:" + process }

// leftPrefix before a topic's key on wakeChannel says that a process has left
// events behind.
const leftPrefix = "left "

// run runs the groups until ctx ends.
func (h *hub) run(ctx context.Context) error {
	heard := h.db.client.Subscribe(ctx, wakeChannel, processChannel(h.process))
	defer heard.Close() //nolint:errcheck // it is given up
	messages := heard.ChannelWithSubscriptions()
	var work sync.WaitGroup
	defer work.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case g := <-h.started:
			work.Go(func() { g.run(ctx) })
		case m := <-messages:
			switch m := m.(type) {
			case *redis.Subscription: // also after the connection was lost: something may have been missed
				h.wakeAll()
			case *redis.Message:
				h.wake(m.Payload)
			}
		}
	}
}

func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, groups := range h.byTopic {
		for g := range groups {
			g.look(true)
		}
	}
}

func (h *hub) wake(message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key, left := strings.CutPrefix(message, leftPrefix)
	for g := range h.byTopic[key] {
		if left {
			g.look(false)
		}
		signal(g.wake)
	}
}

// join adds a consumer to a group, which src is for when the group is new in
// this process. One that is ending leaves things in order first.
func (h *hub) join(ctx context.Context, t topic, name string, src source, c *consumer) (*group, error) {
	for {
		g, ending, err := h.enter(t, name, src, c)
		if err != nil {
			return nil, err
		}
		if ending == nil {
			if err := h.start(ctx, g); err != nil {
				h.leave(g, c)
				return nil, err
			}
			return g, nil
		}
		select {
		case <-ending:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// start has a group run, unless it does.
func (h *hub) start(ctx context.Context, g *group) error {
	var err error
	g.once.Do(func() {
		select {
		case h.started <- g:
		case <-ctx.Done():
			err = errors.New(codes.Unavailable, "the platform is stopping").Because(ctx.Err())
			g.fail(err)
			close(g.ended)
		}
	})
	return err
}

// enter adds a consumer to its group. If that is ending, it answers when.
func (h *hub) enter(t topic, name string, src source, c *consumer) (g *group, ending <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := groupKey{t.key(), name}
	if old := h.shared[k]; old != nil {
		select {
		case <-old.stop:
			return nil, old.gone, nil
		case <-old.failed:
			return nil, old.gone, nil
		default:
			g = old
		}
	}
	if h.consumers[t.namespace] >= h.limit {
		return nil, nil, errors.New(codes.ResourceExhausted, "namespace %q has %d consumers, which is the limit", t.namespace, h.limit)
	}
	if g != nil {
		if err := g.add(c); err != nil {
			return nil, nil, err
		}
	} else {
		g = newGroup(t, name, src, h.scan, h.log)
		g.consumers = []*consumer{c}
		if name != "" {
			h.shared[k] = g
		}
		if h.byTopic[k.stream] == nil {
			h.byTopic[k.stream] = map[*group]bool{}
		}
		h.byTopic[k.stream][g] = true
	}
	h.consumers[t.namespace]++
	return g, nil, nil
}

// leave takes a consumer out of its group. The group ends with the last one.
func (h *hub) leave(g *group, c *consumer) {
	h.mu.Lock()
	if h.consumers[g.topic.namespace]--; h.consumers[g.topic.namespace] == 0 {
		delete(h.consumers, g.topic.namespace)
	}
	last := !g.remove(c)
	if last {
		close(g.stop)
	}
	h.mu.Unlock()
	if !last {
		return
	}
	<-g.ended
	h.drop(g)
}

// drop forgets a group that has ended.
func (h *hub) drop(g *group) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := g.topic.key()
	if k := (groupKey{key, g.name}); h.shared[k] == g {
		delete(h.shared, k)
	}
	delete(h.byTopic[key], g)
	if len(h.byTopic[key]) == 0 {
		delete(h.byTopic, key)
	}
	close(g.gone)
}
