package rate

import (
	"context"
	"crypto/rand"
	_ "embed"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Key is what is limited: of a namespace, and in it for instance an account.
type Key struct{ Namespace, Kind, ID string }

// Limit is how often a key may happen.
type Limit struct {
	Key Key
	// Rate is how often in a second, Burst at once after a pause. Both are at
	// least 1.
	Rate, Burst int64
}

// Refusal says which limit was met.
type Refusal struct {
	Limit Limit
	// Wait is how long until there is room again, for one.
	Wait time.Duration
}

// Limiter is one process's part of the limits.
type Limiter struct {
	redis  redis.UniversalClient
	log    *slog.Logger
	id     string // of this process
	asking chan *bucket
	away   atomic.Bool
	others atomic.Int64 // processes, this one included

	mu      sync.RWMutex
	buckets map[Key]*bucket
}

const (
	// redisWithin bounds a round trip, and so what a call can wait.
	redisWithin = 250 * time.Millisecond
	// idle is how long a bucket keeps what it does not use.
	idle = time.Second
	// forget is how long an unused bucket takes memory.
	forget = time.Minute
	// batch is how many questions go in a round trip.
	batch = 256
	// queue is how many may wait for that.
	queue = 4096
	// assumed is the number of processes before they have been counted.
	assumed = 2
	// processes is the key where they are counted, by the time they were seen.
	processes = "rate:{processes}"
)

//go:embed lease.lua
var leaseSource string

var lease = redis.NewScript(leaseSource)

// New makes a Limiter that leases nothing before Run.
func New(r redis.UniversalClient, log *slog.Logger) *Limiter {
	l := &Limiter{redis: r, log: log, id: rand.Text()[:8], asking: make(chan *bucket, queue), buckets: map[Key]*bucket{}}
	l.others.Store(assumed)
	return l
}

// Take uses one of each limit, or none of any and says which was met. When a
// block has to be leased first, it waits for that, but not beyond ctx.
func (l *Limiter) Take(ctx context.Context, limits ...Limit) *Refusal {
	for n, limit := range limits {
		if wait, ok := l.take(ctx, 1, limit); !ok {
			for _, taken := range limits[:n] {
				l.untake(taken.Key)
			}
			return &Refusal{Limit: limit, Wait: wait}
		}
	}
	return nil
}

// TakeN uses n of a limit, or none. More than its burst is always refused.
func (l *Limiter) TakeN(ctx context.Context, n int64, limit Limit) *Refusal {
	if wait, ok := l.take(ctx, n, limit); !ok {
		return &Refusal{Limit: limit, Wait: wait}
	}
	return nil
}

func (l *Limiter) take(ctx context.Context, n int64, limit Limit) (time.Duration, bool) {
	b := l.bucket(limit.Key)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate, b.burst = limit.Rate, limit.Burst
	now := time.Now()
	b.count(now, n)
	for {
		if l.away.Load() {
			b.refill(now, 1/float64(l.others.Load()))
		}
		if b.tokens >= float64(n) {
			b.tokens -= float64(n)
			if b.tokens < float64(b.want())/2 {
				l.ask(b, now)
			}
			return 0, true
		}
		if b.empty.After(now) || l.away.Load() || !l.ask(b, now) {
			return max(b.empty.Sub(now), time.Duration(float64(time.Second)/float64(b.rate))), false
		}
		if !b.await(ctx, n) {
			return pause, false
		}
		now = time.Now()
	}
}

// await waits for the answer to a question for n tokens and what others want,
// and says whether it came. The caller holds mu, and has it again afterwards.
func (b *bucket) await(ctx context.Context, n int64) (came bool) {
	asked, longest := b.asked, time.NewTimer(2*redisWithin) // for the round trip under way and the next
	defer longest.Stop()
	b.waiting += n
	b.mu.Unlock()
	select {
	case <-asked:
		came = true
	case <-ctx.Done():
	case <-longest.C:
	}
	b.mu.Lock()
	b.waiting -= n
	return came
}

// ask has tokens asked for, unless that is under way or in vain; false says that
// it cannot be now. The caller holds b.mu.
func (l *Limiter) ask(b *bucket, now time.Time) bool {
	if b.asked != nil {
		return true
	}
	if b.empty.After(now) || l.away.Load() {
		return false
	}
	select {
	case l.asking <- b:
		b.asked = make(chan struct{})
		return true
	default:
		return false
	}
}

func (l *Limiter) untake(k Key) {
	b := l.bucket(k)
	b.mu.Lock()
	b.tokens++
	b.mu.Unlock()
}

func (l *Limiter) bucket(k Key) *bucket {
	l.mu.RLock()
	b := l.buckets[k]
	l.mu.RUnlock()
	if b != nil {
		return b
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if b = l.buckets[k]; b == nil {
		b = &bucket{key: k, counted: time.Now()}
		l.buckets[k] = b
	}
	return b
}

// Away says whether Redis is, so that limits are not shared.
func (l *Limiter) Away() bool { return l.away.Load() }

// Run leases tokens until ctx ends.
func (l *Limiter) Run(ctx context.Context) error {
	tick := time.NewTicker(idle)
	defer tick.Stop()
	l.meet(ctx)
	for {
		select {
		case <-ctx.Done():
			l.leave(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
			l.meet(ctx)
			l.sweep(ctx, time.Now())
		case b := <-l.asking:
			l.lease(ctx, l.more(b))
		}
	}
}

// more takes what else is asked for at the moment.
func (l *Limiter) more(first *bucket) []*bucket {
	all := []*bucket{first}
	for len(all) < batch {
		select {
		case b := <-l.asking:
			all = append(all, b)
		default:
			return all
		}
	}
	return all
}

// lease asks for tokens of some buckets, in one round trip.
func (l *Limiter) lease(ctx context.Context, all []*bucket) {
	wants := make([]int64, len(all))
	commands := make([]*redis.Cmd, len(all))
	err := l.pipe(ctx, func(ctx context.Context, p redis.Pipeliner) {
		for i, b := range all {
			b.mu.Lock()
			wants[i] = b.want()
			commands[i] = l.command(ctx, p, b, wants[i])
			b.mu.Unlock()
		}
	})
	l.noteAway(err)
	now := time.Now()
	for i, b := range all {
		answer, failed := commands[i].Int64Slice()
		b.mu.Lock()
		if err != nil || failed != nil || len(answer) != 2 {
			b.answered()
		} else {
			b.answer(now, answer[0], wants[i], time.Duration(answer[1])*time.Millisecond)
		}
		b.mu.Unlock()
	}
}

// command leases tokens, or gives some back. The caller holds b.mu.
func (l *Limiter) command(ctx context.Context, p redis.Pipeliner, b *bucket, want int64) *redis.Cmd {
	demand := max(b.demand, 1+float64(b.waiting))
	if want < 0 {
		demand = 0
	}
	key := "rate:{" + b.key.Namespace + "}:" + b.key.Kind + ":" + b.key.ID
	return p.EvalSha(ctx, lease.Hash(), []string{key}, b.rate, b.burst, want, l.id, strconv.FormatFloat(demand, 'f', 1, 64))
}

// pipe sends commands, and the script first where it is not known yet.
func (l *Limiter) pipe(ctx context.Context, add func(context.Context, redis.Pipeliner)) error {
	ctx, cancel := context.WithTimeout(ctx, redisWithin)
	defer cancel()
	send := func() error {
		p := l.redis.Pipeline()
		add(ctx, p)
		_, err := p.Exec(ctx)
		return err
	}
	err := send()
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		if err := lease.Load(ctx, l.redis).Err(); err != nil {
			return err
		}
		return send()
	}
	return err
}

// noteAway remembers whether Redis is away, and says so once.
func (l *Limiter) noteAway(err error) {
	if was := l.away.Swap(err != nil); was == (err != nil) {
		return
	}
	if err != nil {
		l.log.Warn("limits are not shared while Redis is away: every edge allows its share", "share_of", l.others.Load(), "error", err)
		return
	}
	l.log.Info("limits are shared again")
}

// meet counts the processes, and finds out whether Redis is there.
func (l *Limiter) meet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, redisWithin)
	defer cancel()
	now := time.Now()
	p := l.redis.Pipeline()
	p.ZAdd(ctx, processes, redis.Z{Score: float64(now.UnixMilli()), Member: l.id})
	p.ZRemRangeByScore(ctx, processes, "-inf", strconv.FormatInt(now.Add(-10*idle).UnixMilli(), 10))
	n := p.ZCard(ctx, processes)
	p.Expire(ctx, processes, forget)
	_, err := p.Exec(ctx)
	if err == nil {
		l.others.Store(max(n.Val(), 1))
	}
	l.noteAway(err)
}

// leave gives everything back.
func (l *Limiter) leave(ctx context.Context) {
	if l.away.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, redisWithin)
	defer cancel()
	l.redis.ZRem(ctx, processes, l.id) //nolint:errcheck // it is forgotten in any case, later
	l.sweep(ctx, time.Now().Add(idle))
}

// sweep gives back what is not used, and forgets buckets that have not been
// used for long.
func (l *Limiter) sweep(ctx context.Context, now time.Time) {
	l.mu.Lock()
	all := make([]*bucket, 0, len(l.buckets))
	for k, b := range l.buckets {
		b.mu.Lock()
		old := now.Sub(b.used) > forget && b.asked == nil
		b.mu.Unlock()
		if old {
			delete(l.buckets, k)
			continue
		}
		all = append(all, b)
	}
	l.mu.Unlock()
	if l.away.Load() {
		return
	}
	for len(all) > 0 {
		n := min(batch, len(all))
		l.giveBack(ctx, all[:n], now)
		all = all[n:]
	}
}

func (l *Limiter) giveBack(ctx context.Context, all []*bucket, now time.Time) {
	type gift struct {
		bucket *bucket
		tokens int64
	}
	var gifts []gift
	for _, b := range all {
		if n := b.back(now); n > 0 {
			gifts = append(gifts, gift{b, n})
		}
	}
	if len(gifts) == 0 {
		return
	}
	// What gets lost on the way is lost: less is allowed, not more.
	l.noteAway(l.pipe(ctx, func(ctx context.Context, p redis.Pipeliner) {
		for _, g := range gifts {
			g.bucket.mu.Lock()
			l.command(ctx, p, g.bucket, -g.tokens)
			g.bucket.mu.Unlock()
		}
	}))
}
