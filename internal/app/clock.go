package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/micro/platform/internal/identity"
)

const (
	// clockOff is from how far on a clock is off: the process refuses good tokens,
	// or others those that it makes.
	clockOff = identity.Leeway
	// heardFor is how long it counts what time another had.
	heardFor = 30 * time.Second
	// enough is how many others have to tell the time: of two clocks nobody knows
	// which one is off.
	enough = 2
	// timeKey is the time of an instance in the answers of its health service.
	timeKey = "micro-time"
)

// database is who tells the time in Postgres.
const database = "postgres"

// clocks is by how much the clock of this process is ahead of others: of
// Postgres, and of the instances of components that it has connections to.
type clocks struct {
	mu     sync.Mutex
	others map[string]told
}

type told struct {
	ahead time.Duration
	at    time.Time
}

func newClocks() *clocks { return &clocks{others: map[string]told{}} }

// note takes in what time another had between asked and now.
func (c *clocks) note(who string, asked, theirs time.Time) {
	took := time.Since(asked)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.others[who] = told{asked.Add(took / 2).Sub(theirs).Round(time.Millisecond), asked.Add(took)}
}

// heard answers by how much this clock is ahead of those that were heard of
// lately, in order, and whether Postgres' is among them.
func (c *clocks) heard() (all []time.Duration, ofPostgres time.Duration, has bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for who, t := range c.others {
		switch {
		case time.Since(t.at) > heardFor:
			delete(c.others, who)
			continue
		case who == database:
			ofPostgres, has = t.ahead, true
		}
		all = append(all, t.ahead)
	}
	slices.Sort(all)
	return all, ofPostgres, has
}

// off is the reason for which a process should get no calls: its clock is not that
// of most others. Where it is one of the others', Postgres' included, it goes on.
func (c *clocks) off() error {
	all, _, _ := c.heard()
	differ := slices.DeleteFunc(slices.Clone(all), func(d time.Duration) bool { return d.Abs() <= clockOff })
	if len(all) < enough || 2*len(differ) <= len(all) {
		return nil
	}
	by, way := differ[len(differ)/2], "ahead of"
	if by < 0 {
		way = "behind"
	}
	return fmt.Errorf("the clock of this host is %v %s %d of the %d that tell it the time", by.Abs().Round(time.Second), way, len(differ), len(all))
}

// skew is by how much this clock is ahead, in seconds: of Postgres', and in a
// process without it of the middle one of the others.
func (c *clocks) skew(context.Context) (float64, error) {
	all, ofPostgres, has := c.heard()
	switch {
	case has:
		return ofPostgres.Seconds(), nil
	case len(all) == 0:
		return 0, errors.New("nobody has told the time")
	}
	return all[len(all)/2].Seconds(), nil
}

// ask asks Postgres for the time.
func (c *clocks) ask(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx) // opening one would count as skew
	if err != nil {
		return err
	}
	defer conn.Release()
	var theirs time.Time
	asked := time.Now()
	if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&theirs); err != nil {
		return err
	}
	c.note(database, asked, theirs)
	return nil
}

// check asks an instance how it is, and notes its time.
func (c *clocks) check(ctx context.Context, conn grpc.ClientConnInterface) (*healthpb.HealthCheckResponse, error) {
	var header metadata.MD
	var from peer.Peer
	asked := time.Now()
	rsp, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: readiness}, grpc.Header(&header), grpc.Peer(&from))
	if v := header.Get(timeKey); len(v) == 1 && from.Addr != nil {
		if theirs, err := time.Parse(time.RFC3339Nano, v[0]); err == nil {
			c.note(from.Addr.String(), asked, theirs)
		}
	}
	return rsp, err
}

// timed is a health service that tells the time.
type timed struct{ *health.Server }

// Check implements the RPC.
func (t timed) Check(ctx context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	grpc.SetHeader(ctx, metadata.Pairs(timeKey, time.Now().UTC().Format(time.RFC3339Nano))) //nolint:errcheck // without a transport there is no header
	return t.Server.Check(ctx, req)
}
