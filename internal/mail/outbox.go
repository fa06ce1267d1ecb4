package mail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/micro/platform/internal/seal"
)

const (
	// workers is how many messages are handed over at once.
	workers = 4
	// retryMin and retryMax bound the wait after an attempt that failed.
	retryMin = time.Second
	retryMax = time.Minute
	// keep is how long the database keeps what was sent.
	keep = time.Minute
	// owner is what each message is sealed for.
	owner = "mail"
	// stopTime is what attempts in hand get when the component stops.
	stopTime = 3 * time.Second
)

// Outbox keeps messages in the job tables of a component's schema until they
// are handed over, so that what was promised in a transaction is sent although
// the process dies. A message may come twice then. What it says is sealed: the
// database alone opens no code.
type Outbox struct {
	pool *pgxpool.Pool
	jobs *river.Client[pgx.Tx]
	box  *seal.Box
	log  *slog.Logger

	schema string
}

// job is a message on its way.
type job struct {
	Sealed []byte    `json:"sealed"`
	Until  time.Time `json:"until"`
}

// Kind implements river.JobArgs.
func (job) Kind() string { return "mail" }

// NewOutbox makes the outbox of a component; Run sends.
func NewOutbox(pool *pgxpool.Pool, component string, cluster seal.Cluster, s *Sender, log *slog.Logger) (*Outbox, error) {
	box, err := seal.New(cluster, boxOf(component))
	if err != nil {
		return nil, err
	}
	o := &Outbox{pool: pool, box: box, log: log, schema: component}
	all := river.NewWorkers()
	if err := river.AddWorkerSafely(all, &worker{outbox: o, sender: s}); err != nil {
		return nil, err
	}
	o.jobs, err = river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema: component, Workers: all, Logger: slog.New(quiet{log.Handler()}),
		Queues:                      map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}},
		FetchPollInterval:           time.Second,
		CompletedJobRetentionPeriod: keep,
		CancelledJobRetentionPeriod: keep,
		JobTimeout:                  2 * sendTimeout,
		RescueStuckJobsAfter:        3 * sendTimeout,       // of a process that died
		ReindexerSchedule:           river.NeverSchedule(), // the component does not own its tables
	})
	if err != nil {
		return nil, fmt.Errorf("make outbox: %w", err)
	}
	return o, nil
}

func boxOf(component string) string { return component + " mail" }

// waiting are the messages that are not handed over yet.
const waiting = `kind = 'mail' AND state IN ('available', 'pending', 'retryable', 'running', 'scheduled')`

// Sealed is where a component with an outbox keeps messages.
func Sealed(component string) seal.Column {
	return seal.Column{
		What: "mail that waits", Box: boxOf(component), Table: component + ".river_job", Key: []string{"id"}, Where: waiting,
		Read:  `decode(args ->> 'sealed', 'base64')`,
		Write: `args = jsonb_set(args, '{sealed}', to_jsonb(translate(encode($1, 'base64'), E'\n', '')))`,
		Owner: func([]any) string { return owner },
	}
}

// quiet passes on what an operator acts on; River says more than that.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

// Put sends a message once tx has committed, if that is before until. One to
// nobody takes the same steps and is dropped in the end, so that the time a
// caller waits does not tell whether there is somebody to write to.
func (o *Outbox) Put(ctx context.Context, tx pgx.Tx, m Message, until time.Time) error {
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	if _, err := o.jobs.InsertTx(ctx, tx, job{o.box.Seal(text, owner), until}, nil); err != nil {
		return fmt.Errorf("enqueue mail: %w", err)
	}
	return nil
}

// Run sends until ctx ends.
func (o *Outbox) Run(ctx context.Context) error {
	if err := o.jobs.Start(context.WithoutCancel(ctx)); err != nil { // it ends by the stop below
		return fmt.Errorf("start outbox: %w", err)
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := o.jobs.StopAndCancel(stop); err != nil {
		o.log.Warn("mail was not stopped in time", "error", err)
	}
	return nil
}

// Waiting answers how many messages are not handed over yet, and for how long the
// oldest has waited.
func (o *Outbox) Waiting(ctx context.Context) (n int64, oldest time.Duration, err error) {
	q := `SELECT count(*), coalesce(now() - min(created_at), '0') FROM ` + pgx.Identifier{o.schema, "river_job"}.Sanitize() + `
		WHERE ` + waiting
	if err := o.pool.QueryRow(ctx, q).Scan(&n, &oldest); err != nil {
		return 0, 0, fmt.Errorf("count mail: %w", err)
	}
	return n, oldest, nil
}

// worker hands messages over.
type worker struct {
	river.WorkerDefaults[job]

	outbox *Outbox
	sender *Sender
}

// Work implements river.Worker. An address is a person's: the log has none.
func (w *worker) Work(ctx context.Context, j *river.Job[job]) error {
	text, err := w.outbox.box.Open(j.Args.Sealed, owner)
	if err != nil {
		return river.JobCancel(err) // of another cluster secret
	}
	var m Message
	if err := json.Unmarshal(text, &m); err != nil {
		return river.JobCancel(fmt.Errorf("read mail: %w", err))
	}
	if m.To == "" {
		return nil
	}
	log := w.outbox.log.With("subject", m.Subject)
	// Each wait is as long as all before it together.
	wait := min(max(time.Since(j.CreatedAt), retryMin), retryMax)
	if time.Now().After(j.Args.Until) {
		log.ErrorContext(ctx, "mail could not be sent in time")
		return nil
	}
	err = w.sender.Send(ctx, m)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errRefused):
		log.WarnContext(ctx, "mail was refused", "error", err)
		return nil
	case ctx.Err() == nil && wait == retryMin:
		log.WarnContext(ctx, "mail cannot be sent now, trying again", "error", err)
	}
	return river.JobSnooze(wait)
}
