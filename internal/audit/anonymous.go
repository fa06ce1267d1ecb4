package audit

import (
	"context"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	auditpb "github.com/micro/platform/proto/audit"
)

// anonymous is the account of entries about calls without one.
const anonymous = "anonymous"

const (
	// failuresTold is how many failures of anonymous callers a namespace's log
	// takes in a minute; those beyond are a number in the next one.
	failuresTold = 10
	// failuresWriting is how many are written down at a time.
	failuresWriting = 8
	// maxFloods bounds the namespaces whose failures are counted.
	maxFloods = 10_000
)

// call is a call under way, for the component that answers it.
type call struct {
	log    *Log
	caller identity.Caller // without an ID if it is anonymous
	method string
	told   string // the namespace whose log has heard of it

	mu  sync.Mutex
	end func(error)
}

type callKey struct{}

// watch puts a call into the context of its handler.
func (l *Log) watch(ctx context.Context, method string, req proto.Message) (context.Context, *call) {
	c := &call{log: l, method: method}
	var ok bool
	if c.caller, ok = identity.From(ctx); ok {
		if namespace, is := told(c.caller, method, req); is {
			c.told = namespace
		}
	}
	return context.WithValue(ctx, callKey{}, c), c
}

// ended writes down how it ended, if it was written down that it began.
func (c *call) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end != nil {
		c.end(err)
	}
}

// entry is what a namespace's log says of the call.
func (c *call) entry(ctx context.Context, namespace string, about map[string]string) *auditpb.Entry {
	e := newEntry(ctx, c.caller, c.method)
	e.Namespace, e.Target = namespace, map[string]string{}
	for name, value := range about {
		e.Target[name] = clip(value)
	}
	return e
}

// Concerns writes into a namespace's log that the call in ctx, of somebody who
// is not in it or need not be, is about to change something there. What cannot be
// written down must not be done. Of what only members do the log has heard already.
func Concerns(ctx context.Context, namespace string, about map[string]string) error {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok || c.told == namespace {
		return nil
	}
	end, err := c.log.write(ctx, c.entry(ctx, namespace, about))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = end
	return nil
}

// Failed writes into a namespace's log that the call in ctx failed as its caller
// did not prove who he is. It does not wait, and writes a few of many: who
// guesses passwords does not fill the log, and does not learn from the time of
// an answer that there is such an account.
func Failed(ctx context.Context, namespace string, about map[string]string, result error) {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return
	}
	left, tell := c.log.failures.take(namespace, time.Now())
	if !tell {
		return
	}
	e := c.entry(ctx, namespace, about)
	if left > 0 {
		e.Target["not_told"] = strconv.Itoa(left)
	}
	select {
	case c.log.failures.writing <- struct{}{}:
	default:
		return
	}
	ctx = context.WithoutCancel(ctx)
	go func() { // ends with the time of its two calls
		defer func() { <-c.log.failures.writing }()
		end, err := c.log.write(ctx, e)
		if err != nil {
			c.log.log.WarnContext(ctx, "a failure is not in the audit log", "namespace", namespace, "error", errors.FromError(err).Unwrap())
			return
		}
		end(result)
	}()
}

// failures counts those of anonymous callers, by namespace, for a minute.
type failures struct {
	writing chan struct{}

	mu     sync.Mutex
	floods map[string]*flood
}

// flood is the failures of a minute.
type flood struct {
	since      time.Time
	told, left int
}

func newFailures() *failures {
	return &failures{writing: make(chan struct{}, failuresWriting), floods: map[string]*flood{}}
}

// take says whether to tell of one more, and how many were not told of before it.
func (f *failures) take(namespace string, now time.Time) (left int, tell bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.floods[namespace]
	switch {
	case x == nil:
		if len(f.floods) >= maxFloods {
			clear(f.floods)
		}
		x = &flood{since: now}
		f.floods[namespace] = x
	case now.Sub(x.since) >= time.Minute:
		x.since, x.told = now, 0
	}
	if x.told >= failuresTold {
		x.left++
		return 0, false
	}
	x.told++
	left, x.left = x.left, 0
	return left, true
}
