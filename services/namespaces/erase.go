package namespaces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/pause"
	"github.com/micro/platform/internal/pg"
	auditpb "github.com/micro/platform/proto/audit"
	authpb "github.com/micro/platform/proto/auth"
	builderpb "github.com/micro/platform/proto/builder"
	configpb "github.com/micro/platform/proto/config"
	eventspb "github.com/micro/platform/proto/events"
	registrypb "github.com/micro/platform/proto/registry"
	runtimepb "github.com/micro/platform/proto/runtime"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	storepb "github.com/micro/platform/proto/store"
	usagepb "github.com/micro/platform/proto/usage"
)

// eraser has a component erase a part of what it keeps of a namespace.
type eraser struct {
	component string
	erase     func(context.Context, deletion) (done bool, err error)
}

// answer is an answer of any component.
type answer interface{ GetDone() bool }

// erases makes an eraser of a component's Erase.
func erases[Q any, A answer](component string, call func(context.Context, Q, ...grpc.CallOption) (A, error), request func(deletion) Q) eraser {
	return eraser{component, func(ctx context.Context, d deletion) (bool, error) {
		rsp, err := call(ctx, request(d))
		if err != nil {
			return false, err
		}
		return rsp.GetDone(), nil
	}}
}

// erasers are the components that keep something of namespaces, in the order in
// which they erase: what makes things comes before what keeps them, and the audit
// log is the last to go.
func erasers(h *app.Host, d db) ([]eraser, error) {
	conns := map[string]grpc.ClientConnInterface{}
	for _, name := range []string{"runtime", "builder", "scheduler", "registry", "config", "store", "events", "usage", "auth", "audit"} {
		conn, err := h.Conn(name)
		if err != nil {
			return nil, err
		}
		conns[name] = conn
	}
	return []eraser{
		erases("runtime", runtimepb.NewComponentsClient(conns["runtime"]).Erase, func(d deletion) *runtimepb.EraseRequest {
			return &runtimepb.EraseRequest{Namespace: d.Namespace}
		}),
		erases("builder", builderpb.NewComponentsClient(conns["builder"]).Erase, func(d deletion) *builderpb.EraseRequest {
			return &builderpb.EraseRequest{Namespace: d.Namespace}
		}),
		erases("scheduler", schedulerpb.NewComponentsClient(conns["scheduler"]).Erase, func(d deletion) *schedulerpb.EraseRequest {
			return &schedulerpb.EraseRequest{Namespace: d.Namespace}
		}),
		erases("registry", registrypb.NewComponentsClient(conns["registry"]).Erase, func(d deletion) *registrypb.EraseRequest {
			return &registrypb.EraseRequest{Namespace: d.Namespace}
		}),
		erases("config", configpb.NewComponentsClient(conns["config"]).Erase, func(d deletion) *configpb.EraseRequest {
			return &configpb.EraseRequest{Namespace: d.Namespace}
		}),
		erases("store", storepb.NewComponentsClient(conns["store"]).Erase, func(d deletion) *storepb.EraseRequest {
			return &storepb.EraseRequest{Namespace: d.Namespace}
		}),
		erases("events", eventspb.NewComponentsClient(conns["events"]).Erase, func(d deletion) *eventspb.EraseRequest {
			return &eventspb.EraseRequest{Namespace: d.Namespace}
		}),
		erases("usage", usagepb.NewComponentsClient(conns["usage"]).Erase, func(d deletion) *usagepb.EraseRequest {
			return &usagepb.EraseRequest{Namespace: d.Namespace}
		}),
		erases("auth", authpb.NewComponentsClient(conns["auth"]).Erase, func(d deletion) *authpb.EraseRequest {
			return &authpb.EraseRequest{Namespace: d.Namespace}
		}),
		d.eraser(),
		erases("audit", auditpb.NewComponentsClient(conns["audit"]).Erase, func(d deletion) *auditpb.EraseRequest {
			return &auditpb.EraseRequest{Namespace: d.Namespace, Account: d.Account, Operator: d.Operator, Deleted: d.DeletedAt.Unix()}
		}),
	}, nil
}

// erasePage is how many rows of a namespace go at once here.
const erasePage = 1000

// eraser erases what this component keeps beside the namespace itself, which is
// the last to go, and how far its erasure has come.
func (d db) eraser() eraser {
	return eraser{"namespaces", func(ctx context.Context, x deletion) (bool, error) {
		return pg.Erase(ctx, d.pool, "namespaces", x.Namespace, erasePage, "namespaces", "deletions", "erasures")
	}}
}

// deletions carries deletions out: mails, and the erasure when the time to undo
// is over.
type deletions struct {
	db         db
	components []eraser
	mails      *mail.Outbox
	log        *slog.Logger
	opts       Options
	now        func() time.Time
}

const (
	// eraseCall bounds one call to a component, and eraseTurn how long one is
	// called before the others have their turn.
	eraseCall = 30 * time.Second
	eraseTurn = 3 * time.Second
	// eraseLease is how long a namespace is left to the process that took it. Two
	// at once do no harm.
	eraseLease = 30 * time.Second
	// eraseAgain is the time between two calls to a component that is not done.
	eraseAgain = 200 * time.Millisecond
	// eraseRetry is how long a namespace waits after a call that failed.
	eraseRetry = 5 * time.Second
	// maxFailure is how much is kept of an error, in bytes.
	maxFailure = 500
)

// run carries out what is due until ctx ends. Any number of processes may.
func (d *deletions) run(ctx context.Context) error {
	for range pause.Ticks(ctx, d.opts.Retry) {
		if err := d.step(ctx); err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "an erasure is held up, trying again", "error", err)
		}
	}
	return nil
}

// step mails who is to be warned, begins what is due, and goes on with one
// erasure.
func (d *deletions) step(ctx context.Context) error {
	for found := true; found; {
		var err error
		if found, err = d.db.warn(ctx, d.warn); err != nil {
			return err
		}
	}
	for {
		name, err := d.db.begin(ctx)
		if err != nil {
			return err
		}
		if name == "" {
			break
		}
		d.log.InfoContext(ctx, "a namespace is being erased", "namespace", name)
	}
	x, err := d.db.take(ctx, eraseLease)
	if errors.Is(err, errNone) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.erase(ctx, x)
}

func (d *deletions) warn(tx pgx.Tx, owners []member, x deletion) error {
	for _, m := range owners {
		if err := d.mails.Put(context.Background(), tx, warningMail(m.Account, x), d.now().Add(deletionMailLife)); err != nil {
			return err
		}
	}
	return nil
}

// erase goes on with a namespace: every component in turn until it is done, and
// all once more when nothing comes late any more. One that is away does not hold
// up the others, but for the audit log, which is kept until all else is gone.
func (d *deletions) erase(ctx context.Context, x deletion) error {
	verifying := x.SettledAt != nil
	var failed error
	left := 0
	for i, c := range d.components {
		if done(x, c.component, verifying) || left > 0 && i == len(d.components)-1 {
			continue
		}
		is, err := d.eraseIn(ctx, c, x, verifying)
		if !is {
			left++
		}
		failed = errors.Join(failed, err)
	}
	switch {
	case failed != nil:
		return errors.Join(failed, d.db.leave(ctx, x.Namespace, eraseRetry))
	case left > 0:
		return d.db.leave(ctx, x.Namespace, 0)
	case !verifying:
		return d.db.settle(ctx, x.Namespace, d.opts.Settle)
	}
	if err := d.db.finish(ctx, x.Namespace, d.opts.Quarantine); err != nil {
		return err
	}
	d.log.InfoContext(ctx, "a namespace is erased", "namespace", x.Namespace)
	return nil
}

func done(x deletion, component string, verifying bool) bool {
	return slices.ContainsFunc(x.Components, func(e erasure) bool {
		return e.Component == component && (e.VerifiedAt != nil || !verifying && e.DoneAt != nil)
	})
}

// eraseIn calls a component until it is done, or its turn is over.
func (d *deletions) eraseIn(ctx context.Context, c eraser, x deletion, verifying bool) (is bool, err error) {
	turn := time.After(eraseTurn)
	for {
		is, err := d.call(ctx, c, x, verifying)
		if err != nil {
			return false, fmt.Errorf("erase %s in %s: %w", x.Namespace, c.component, err)
		}
		if is {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-turn:
			return false, nil
		case <-time.After(eraseAgain):
		}
	}
}

// call is one call, with the note about it.
func (d *deletions) call(ctx context.Context, c eraser, x deletion, verifying bool) (bool, error) {
	bounded, cancel := context.WithTimeout(identity.AsComponent(ctx), eraseCall)
	defer cancel()
	done, err := c.erase(bounded, x)
	if ctx.Err() != nil { // this process ends, which is nothing to tell
		return false, ctx.Err()
	}
	failure := ""
	if err != nil {
		failure = err.Error()[:min(len(err.Error()), maxFailure)]
	}
	return done && err == nil, errors.Join(err, d.db.called(ctx, x.Namespace, c.component, verifying, done && err == nil, failure))
}
