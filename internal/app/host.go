package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file://
	_ "gocloud.dev/blob/s3blob"   // s3://
	"gocloud.dev/gcerrors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/micro/platform/framework/debug"
	"github.com/micro/platform/internal/audit"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/pause"
	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/rpc"
	"github.com/micro/platform/internal/settings"
)

// Host is what a component runs on. Its methods are for the component's start.
type Host struct {
	// Name is the component's.
	Name string
	Log  *slog.Logger
	// Platform is the settings that all components share.
	Platform Platform

	group  *group
	drains []func(context.Context) // of what serves; run together, before all else
	stops  []func(context.Context) // in the order of starting; run backwards
	closes []func()                // of databases and the like, in the order of opening
	work   sync.WaitGroup
	fail   context.CancelCauseFunc
	ctx    context.Context // ends when the component is told to stop
	stop   context.CancelFunc

	stateDisk sync.Once // its disk is among the metrics

	debug    *debug.Debug
	keys     func() (*identity.KeySet, error)
	verifier func() (*identity.Verifier, error)
}

// DB opens the component's own schema.
func (h *Host) DB(ctx context.Context) (*pgxpool.Pool, error) {
	if h.Platform.PostgresURL == "" {
		return nil, fmt.Errorf("%s needs MICRO_POSTGRES_URL", h.Name)
	}
	pool, err := pg.Open(ctx, h.Platform.PostgresURL.Reveal(), h.Platform.Secrets(), h.Name)
	if err != nil {
		return nil, err
	}
	h.closes = append(h.closes, pool.Close)
	check := pool.Ping
	h.group.clock.Do(func() {
		check = func(ctx context.Context) error { return h.group.clocks.ask(ctx, pool) }
	})
	h.group.health.Watch(h.Name, "postgres", true, check)
	h.group.metrics.Pool(h.Name, pool)
	return pool, nil
}

// Redis opens the Redis for what may be lost.
func (h *Host) Redis() (redis.UniversalClient, error) {
	return h.redis("redis", "MICRO_REDIS_URL", h.Platform.RedisURL, true)
}

// Durable opens the Redis for what must be kept: what it has acknowledged is on
// its disk. It may be a cluster, so the keys of one command need a common hash
// tag. A command whose answer got lost is not sent again: it may have been done,
// and twice is not once where records and events are added.
func (h *Host) Durable() (redis.UniversalClient, error) {
	return h.redis("durable redis", "MICRO_DURABLE_REDIS_URL", h.Platform.DurableRedisURL, false)
}

// redis opens one of them. Without the volatile one, which is tried again when an
// answer is lost, components do less; without the durable one, nothing.
func (h *Host) redis(name, setting string, address settings.Secret, retry bool) (redis.UniversalClient, error) {
	if address == "" {
		return nil, fmt.Errorf("%s needs %s", h.Name, setting)
	}
	c, err := OpenRedis(address.Reveal(), "micro-"+h.Name, retry)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	h.closes = append(h.closes, func() { c.Close() })
	if h.Platform.OTLPEndpoint != "" { // without keys and values, which are tenants'
		if err := redisotel.InstrumentTracing(c, redisotel.WithDBStatement(false)); err != nil {
			return nil, err
		}
	}
	h.group.health.Watch(h.Name, name, !retry, func(ctx context.Context) error { return c.Ping(ctx).Err() })
	h.group.metrics.Redis(h.Name, name, c)
	return c, nil
}

// OpenRedis connects to one server; to a cluster when address names more nodes in
// its query, redis://host:6379?addr=other:6379; or to the master that Sentinels know
// by a name, redis://sentinel:26379?master_name=name&addr=other:26379. retry sends a
// command again whose answer got lost.
func OpenRedis(address, name string, retry bool) (redis.UniversalClient, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("not an address like redis://user:password@host:port")
	}
	if u.Query().Has("master_name") {
		o, err := redis.ParseFailoverURL(address)
		if err != nil {
			return nil, err
		}
		o.ClientName, o.Dialer, o.DialerRetries = name, dialRedis(o.TLSConfig), 1
		o.PipelinePoolSize, o.PoolSize = onePool, cmp.Or(o.PoolSize, poolSize())
		if !retry {
			o.MaxRetries = -1
		}
		return redis.NewFailoverClient(o), nil
	}
	if u.Query().Has("addr") {
		o, err := redis.ParseClusterURL(address)
		if err != nil {
			return nil, err
		}
		o.ClientName, o.Dialer, o.DialerRetries = name, dialRedis(o.TLSConfig), 1
		o.PipelinePoolSize, o.PoolSize = onePool, cmp.Or(o.PoolSize, poolSize())
		return redis.NewClusterClient(o), nil
	}
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, err
	}
	o.ClientName, o.Dialer, o.DialerRetries = name, dialRedis(o.TLSConfig), 1
	o.PipelinePoolSize, o.PoolSize = onePool, cmp.Or(o.PoolSize, poolSize())
	if !retry {
		o.MaxRetries = -1
	}
	return redis.NewClient(o), nil
}

// onePool has pipelines use the connections of other commands. From a pool of their
// own they go on to that one when a server cannot be reached, and wait twice.
const onePool = -1

// poolSize is how many connections to a server there may be: as many as go-redis
// takes by default, and beside all that are late enough for others.
func poolSize() int { return max(32, 10*runtime.GOMAXPROCS(0)) }

// dialRedis gives up on a server that cannot be reached, or not any more, after a
// second: whoever waits for it can then be told.
func dialRedis(config *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	if config == nil {
		return rpc.DialDatabase
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := rpc.DialDatabase(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return tls.Client(conn, config), nil
	}
}

// Outbox makes the outbox for the component's mail, in its own schema. It sends
// until the component stops.
func (h *Host) Outbox(pool *pgxpool.Pool) (*mail.Outbox, error) {
	p := h.Platform
	sender, err := mail.NewSender(mail.Server{Address: p.SMTPAddress, User: p.SMTPUser, Password: p.SMTPPassword, From: p.MailFrom})
	if err != nil {
		return nil, fmt.Errorf("MICRO_SMTP_ADDRESS, MICRO_MAIL_FROM: %w", err)
	}
	o, err := mail.NewOutbox(pool, h.Name, p.Secrets(), sender, h.Log)
	if err != nil {
		return nil, err
	}
	h.Go("mail", o.Run)
	h.Queue("mail", o.Waiting)
	return o, nil
}

// Bucket opens the platform's object bucket.
func (h *Host) Bucket(ctx context.Context) (*blob.Bucket, error) {
	if h.Platform.BucketURL == "" {
		return nil, fmt.Errorf("%s needs MICRO_BUCKET_URL", h.Name)
	}
	b, err := OpenBucket(ctx, h.Platform.BucketURL)
	if err != nil {
		return nil, err
	}
	h.closes = append(h.closes, func() { b.Close() })
	if dir := h.BucketDir(); dir != "" {
		h.Disk("bucket", dir)
	}
	h.group.metrics.Ask(h.Name, "micro_backup_timestamp_seconds", "When the last backup of the platform was made, 0 is never.", func(ctx context.Context) (float64, error) {
		at, err := LastBackup(ctx, b)
		if at.IsZero() {
			return 0, err
		}
		return float64(at.Unix()), err
	})
	return b, nil
}

// lastBackup is the object that says when the last backup was made.
const lastBackup = "platform/last-backup"

// LastBackup answers when a backup of all was last made.
func LastBackup(ctx context.Context, b *blob.Bucket) (time.Time, error) {
	text, err := b.ReadAll(ctx, lastBackup)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339, string(text))
}

// NoteBackup notes that a backup of all was made, for the metrics.
func NoteBackup(ctx context.Context, b *blob.Bucket, made time.Time) error {
	return b.WriteAll(ctx, lastBackup, []byte(made.UTC().Format(time.RFC3339)), nil)
}

// BucketDir answers where the bucket is in the file system, "" if it is elsewhere.
func (h *Host) BucketDir() string {
	u, err := url.Parse(h.Platform.BucketURL)
	if err != nil || u.Scheme != "file" {
		return ""
	}
	return filepath.FromSlash(u.Path)
}

// StateDir answers the component's own directory for what it keeps over a crash,
// as often as it is asked.
func (h *Host) StateDir() (string, error) {
	if h.Platform.StateDir == "" {
		return "", fmt.Errorf("%s needs MICRO_STATE_DIR", h.Name)
	}
	h.stateDisk.Do(func() { h.Disk("state", h.Platform.StateDir) })
	return filepath.Join(h.Platform.StateDir, h.Name), nil
}

// OpenBucket opens the bucket at MICRO_BUCKET_URL.
func OpenBucket(ctx context.Context, address string) (*blob.Bucket, error) {
	b, err := blob.OpenBucket(ctx, bucketURL(address))
	if err != nil {
		return nil, fmt.Errorf("MICRO_BUCKET_URL: %w", err)
	}
	return b, nil
}

// bucketURL is a bucket's address; one in the file system writes nothing outside
// of it, for a file that is moved between disks is not moved at once.
func bucketURL(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "file" {
		return address
	}
	q := u.Query()
	q.Set("no_tmp_dir", "true")
	u.RawQuery = q.Encode()
	return u.String()
}

// Conn answers the connection to another component, in this process or across
// the network. It dials at the first call.
func (h *Host) Conn(component string) (*grpc.ClientConn, error) {
	return h.group.conn(component, h.Name)
}

// Dial connects to the instance of a component on one host, at the port of the
// component's address: for components that are on many hosts, each for itself.
// The caller closes the connection.
func (h *Host) Dial(component, host string) (*grpc.ClientConn, error) {
	_, port, err := net.SplitHostPort(addresses(component, h.group.Environ)[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addressName(component), err)
	}
	return h.group.dial(component, h.Name, net.JoinHostPort(host, port))
}

// Local answers the server of another component that runs in this process, to
// call it without a transport; nil when it does not.
func (h *Host) Local(component string) *rpc.Server { return h.group.local(component) }

// Verifier answers what checks tokens, with auth's keys.
func (h *Host) Verifier() (*identity.Verifier, error) { return h.verifier() }

// Server makes a gRPC server whose callers are verified with auth's keys, and
// whose changes are told to the component audit.
func (h *Host) Server() (*rpc.Server, error) {
	v, err := h.Verifier()
	if err != nil {
		return nil, err
	}
	conn, err := h.Conn("audit")
	if err != nil {
		return nil, err
	}
	secure, err := h.group.serverCredentials(h.Name)
	if err != nil {
		return nil, err
	}
	return rpc.NewServer(h.Log, v, secure, h.group.metrics.Calls(h.Name), h.debug, audit.New(conn, h.Log)), nil
}

// Serve serves a component's API: to the components of this process in memory,
// and on the component's address when it runs apart.
func (h *Host) Serve(s *rpc.Server) error {
	h.debug.Register(s, h.Name)
	status := health.NewServer()
	healthpb.RegisterHealthServer(s, timed{status})
	h.group.tellReadiness(status.SetServingStatus)
	reflection.Register(s)
	listeners := []net.Listener{h.group.memory(h.Name)}
	if h.group.Apart {
		l, err := h.listenApart()
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
		if err := h.serveWhen(status); err != nil {
			return err
		}
	}
	for _, l := range listeners {
		h.Go("serve", func(context.Context) error { return s.Serve(l) })
	}
	h.group.serveLocally(h.Name, s)
	h.OnDrain(func(ctx context.Context) {
		h.group.serveLocally(h.Name, nil)
		if h.group.Apart {
			defer time.AfterFunc(h.Platform.DrainNotice+streamsApart, s.EndStreams).Stop()
		}
		h.DrainServer(ctx, s.Server, status)
	})
	return nil
}

// keysAgain is the wait before auth is asked for its keys again.
const keysAgain = 300 * time.Millisecond

// serveWhen has calls go to other instances while the clock of this one is off,
// and until it has auth's keys: one that takes the place of another must be able to
// tell who calls.
func (h *Host) serveWhen(status *health.Server) error {
	var there atomic.Bool
	serve := func() {
		is := healthpb.HealthCheckResponse_NOT_SERVING
		if there.Load() && h.group.clocks.off() == nil {
			is = healthpb.HealthCheckResponse_SERVING
		}
		status.SetServingStatus("", is)
	}
	h.group.health.Tell(func(bool) { serve() })
	if h.Name == "auth" {
		there.Store(true)
		serve()
		return nil
	}
	keys, err := h.keys()
	if err != nil {
		return err
	}
	serve()
	h.Gate(func() error {
		if !there.Load() {
			return errors.New("it does not have auth's keys yet")
		}
		return nil
	})
	h.Go("fetch keys", func(ctx context.Context) error {
		for {
			if _, err := keys.Refresh(ctx); err == nil {
				there.Store(true)
				serve()
				return nil
			}
			if pause.For(ctx, keysAgain) != nil {
				return nil
			}
		}
	})
	return nil
}

// listenApart opens the listener of a component that runs apart.
func (h *Host) listenApart() (net.Listener, error) {
	at, err := listenAddress(h.Name, h.group.Environ)
	if err != nil {
		return nil, err
	}
	return h.Listen(listenName(h.Name), at)
}

// Listen opens a TCP listener for one server. setting names where the address
// comes from, for the error.
func (h *Host) Listen(setting, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s cannot listen on %s (%s): %w", h.Name, address, setting, err)
	}
	return &listener{TCPListener: l.(*net.TCPListener)}, nil
}

// Go runs f until the component stops. When f ends with an error before that,
// the whole process stops: a component with a part missing is worse than none.
func (h *Host) Go(name string, f func(ctx context.Context) error) {
	h.work.Go(func() {
		if err := f(h.ctx); err != nil && h.ctx.Err() == nil {
			h.fail(fmt.Errorf("%s: %s: %w", h.Name, name, err))
		}
	})
}

// Lead runs work in one process of all that the component has, the one that holds
// a lock in Postgres, and says in the metrics which.
func (h *Host) Lead(name, lock string, pool *pgxpool.Pool, work func(ctx context.Context) error) {
	var leads atomic.Bool
	h.group.metrics.Leads(h.Name, name, leads.Load)
	h.Go(name, func(ctx context.Context) error {
		return pg.Lead(ctx, pool, lock, func(ctx context.Context) error {
			leads.Store(true)
			defer leads.Store(false)
			return work(ctx)
		})
	})
}

// OnStop runs f when the component stops, after what was started later has
// stopped. ctx ends when the time to stop is up.
func (h *Host) OnStop(f func(ctx context.Context)) { h.stops = append(h.stops, f) }

// shutdown ends the component: what serves first, then its goroutines, and what
// they stand on when they have ended.
func (h *Host) shutdown(ctx context.Context) {
	started := time.Now()
	h.drain(ctx)
	h.stop()
	for _, stop := range slices.Backward(h.stops) {
		stop(ctx)
	}
	done := make(chan struct{})
	go func() { h.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		h.Log.Warn("component did not stop in time")
		return // closing a pool would wait for what is still at work
	}
	for _, closes := range slices.Backward(h.closes) {
		closes()
	}
	h.Log.Debug("component stopped", "took", time.Since(started))
}
