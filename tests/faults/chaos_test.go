package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	storepb "github.com/micro/platform/proto/store"
	"github.com/micro/platform/tests/platform"
)

const (
	// backWithin is how soon a component that was killed serves again.
	backWithin = 5 * time.Second
	// gapMost is how long after a database that was killed is back every kind of
	// calls is answered again.
	gapMost = 3 * time.Second
	// quietFor is how long the load runs without a fault, to compare with.
	quietFor = 10 * time.Second
	// minBetween and maxBetween bound the time between two kills of components.
	minBetween = 2 * time.Second
	maxBetween = 10 * time.Second
)

// chaos is a platform under experiments.
type chaos struct {
	*testing.T
	site    *Site
	servers *databases
	seed    uint64
	random  *rand.Rand
	figures Figures
	auths   *opsAddresses
}

// TestChaos does the experiments of docs/faults.md on one host: all components apart
// and twice, with certificates, a steady load through all edges. It ends with a
// table of figures, and fails when one is not what it should be. `make chaos`
// says how long it lasts.
func TestChaos(t *testing.T) {
	text := os.Getenv("MICRO_TEST_CHAOS")
	if text == "" {
		t.Skip("MICRO_TEST_CHAOS does not say how long: make chaos FOR=10m")
	}
	lasts, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("MICRO_TEST_CHAOS: %v", err)
	}
	auths := &opsAddresses{}
	s, d := site(t, platform.Config{TLS: true, Twice: components, Prepare: auths.prepare,
		Env: []string{"MICRO_PROXY_IN_FLIGHT=5000"}})
	n, random := seed(t)
	c := &chaos{T: t, site: s, servers: d, seed: n, random: random, auths: auths}
	c.prepare()
	defer func() { c.figures.judge(t) }() // also those of experiments before one that ended all
	for _, x := range []struct {
		name string
		do   func()
	}{
		{"quiet", c.quiet},
		{"E16 rolling update of every component", c.rolling},
		{"E1 SIGKILL of components", func() { c.kills(lasts / 2) }},
		{"E3 SIGKILL of Redis", func() { c.restart("E3 SIGKILL of Redis", d.redis) }},
		{"E2 SIGKILL of Postgres", func() { c.restart("E2 SIGKILL of Postgres", d.postgres) }},
		{"E14 2000 clients come back at once", c.herd},
		{"E15 overload", c.overload},
		{"E23 certificates and authority exchanged", c.certificates},
		{"E22 backup and restore", func() { c.backup("E22 backup and restore") }},
		{"E2, E3 others take over", func() { c.figures = append(c.figures, failover(t)...) }},
		{"E9 flood of large bodies", func() { c.figures = append(c.figures, flood(t)...) }},
		{"E7 full disks", func() { c.figures = append(c.figures, fillDisks(t)...) }},
	} {
		t.Log(x.name)
		x.do()
	}
}

// judge prints the figures, and fails when one is not what it should be.
func (f Figures) judge(t *testing.T) {
	t.Helper()
	t.Logf("figures\n%s", f)
	if missed := f.missed(); missed > 0 {
		t.Errorf("%d of %d figures are not what they should be", missed, len(f))
	}
}

// prepare writes what the load reads.
func (c *chaos) prepare() {
	c.Helper()
	token, err := c.site.accessToken(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(c.Context(), "authorization", "Bearer "+token)
	if _, err := storepb.NewStoreClient(c.site.conn).Write(ctx, &storepb.WriteRequest{Record: &storepb.Record{Key: steady, Value: filler(ID{}, 256)}, Options: &storepb.WriteOptions{Table: steady}}); err != nil {
		c.Fatal(err)
	}
}

// told is instances that were told to stop. What a consumer of events was
// acknowledging when its stream ended may come twice, as after a kill.
func told(instances int) map[string]int { return map[string]int{"told to stop": instances} }

// under does something under the steady load, and answers what became of it:
// nothing that was acknowledged may be lost. kills counts what do has stopped.
func (c *chaos) under(name string, do func(ctx context.Context) (kills map[string]int)) *Traffic {
	c.Helper()
	ctx, end := context.WithCancel(c.Context())
	defer end()
	loads, err := c.site.Loads(ctx, strings.ReplaceAll(strings.ToLower(name), " ", "-"))
	if err != nil {
		c.Fatal(err)
	}
	mixed := newMixed(c.site, loads)
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { mixed.run(sending) })
	for _, l := range loads {
		all.Go(func() { l.Run(sending) })
	}
	platform.Until(ctx, time.Now().Add(calm))
	began := time.Now()
	r := Report{Title: name, Seed: c.seed, Kills: do(ctx)}
	r.For = time.Since(began).Round(time.Second)
	platform.Until(ctx, time.Now().Add(calm))
	stop()
	all.Wait()
	if r.Rows, err = settle(ctx, loads, settleTime); err != nil {
		c.Error(err)
	}
	c.Logf("%s\n%s", r, mixed)
	c.figures.count(name, "acknowledged and lost, out of order, or doubled without cause", len(r.Wrong()), 0)
	for _, wrong := range r.Wrong() {
		c.Log(wrong)
	}
	return mixed
}

// quiet measures the load without faults.
func (c *chaos) quiet() {
	x := c.under("quiet", func(ctx context.Context) map[string]int {
		platform.Until(ctx, time.Now().Add(quietFor))
		return nil
	})
	c.figures.count("quiet", "calls failed", x.failed(), 0)
}

// rolling replaces each instance of every component, one after the other.
func (c *chaos) rolling() {
	const name = "E16 rolling update"
	x := c.under(name, func(ctx context.Context) map[string]int {
		for _, component := range components {
			for _, instance := range []string{component, component + "/2"} {
				c.site.Platform.Leave(instance)
				c.again(instance)
				platform.Until(ctx, time.Now().Add(time.Second))
			}
		}
		return told(2 * len(components))
	})
	c.figures.share(name, "calls failed", x.failed(), x.all(), 0)
}

// again starts an instance, and answers how long it took to be ready.
func (c *chaos) again(instance string) time.Duration {
	c.Helper()
	began := time.Now()
	if err := c.site.Platform.Again(c.Context(), instance); err != nil {
		c.Fatal(err)
	}
	return time.Since(began)
}

// kills kills components at random, all of them at least once.
func (c *chaos) kills(lasts time.Duration) {
	const name = "E1 SIGKILL of components"
	var slowest time.Duration
	x := c.under(name, func(ctx context.Context) map[string]int {
		kills := map[string]int{}
		order := c.random.Perm(len(components))
		for i, end := 0, time.Now().Add(lasts); i < len(order) || time.Now().Before(end); i++ {
			instance := components[order[i%len(order)]] + []string{"", "/2"}[c.random.IntN(2)]
			c.site.Platform.Kill(instance)
			kills[instance]++
			slowest = max(slowest, c.again(instance))
			platform.Until(ctx, time.Now().Add(minBetween+time.Duration(c.random.Int64N(int64(maxBetween-minBetween)))))
		}
		return kills
	})
	c.figures.share(name, "calls failed", x.failed(), x.all(), 1)
	c.figures.most(name, "a component is back", slowest, backWithin)
}

// restart kills a database and starts it again.
func (c *chaos) restart(name string, d *platform.Daemon) {
	var recovery time.Duration
	x := c.under(name, func(ctx context.Context) map[string]int {
		if err := d.Kill(); err != nil {
			c.Fatal(err)
		}
		began := time.Now()
		if err := d.Up(ctx); err != nil {
			c.Fatal(err)
		}
		recovery = time.Since(began)
		platform.Until(ctx, time.Now().Add(gapMost)) // what is not answered by then shows
		return map[string]int{d.Name: 1}
	})
	c.figures.most(name, fmt.Sprintf("no call of a kind is answered, beyond its own %v", recovery.Round(time.Millisecond)), x.gap()-recovery, gapMost)
}

// certificates exchanges all certificates and the authority.
func (c *chaos) certificates() {
	const name = "E23 certificates exchanged"
	x := c.under(name, func(context.Context) map[string]int {
		exchangeCertificates(c.T, c.site)
		return told(len(doubled))
	})
	c.figures.share(name, "calls failed", x.failed(), x.all(), 0)
}

// backup makes a backup under load, and sees whether it can be restored.
func (c *chaos) backup(name string) {
	dir := shared(c.T)
	archive, key := filepath.Join(dir, "backup"), filepath.Join(dir, "key")
	made := typed(c.T, "backup", "key")
	if err := os.WriteFile(key, []byte(made), 0o600); err != nil {
		c.Fatal(err)
	}
	public := strings.TrimSpace(made[strings.Index(made, "age1"):strings.Index(made, "\n")])
	var took time.Duration
	x := c.under(name, func(ctx context.Context) map[string]int {
		cmd := exec.CommandContext(ctx, micro, "backup", "--to", public, archive)
		p := c.servers.Platform
		cmd.Env = append(platform.Clean(os.Environ()), "MICRO_POSTGRES_URL="+p.PostgresURL.Reveal(), "MICRO_DURABLE_REDIS_URL="+p.DurableRedisURL.Reveal(),
			"MICRO_BUCKET_URL="+p.BucketURL, "MICRO_CLUSTER_SECRET="+p.ClusterSecret.Reveal())
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			c.Errorf("micro backup: %v: %s", err, out)
		}
		took = time.Since(began)
		return nil
	})
	c.figures.share(name, "calls failed meanwhile", x.failed(), x.all(), 0)
	c.figures.most(name, "backup, which is what may be lost", took, 30*time.Second)
	began := time.Now()
	c.Log(typed(c.T, "restore", "--verify", "--data-dir", filepath.Join(dir, "server"), "--key", key, archive))
	c.figures.most(name, "restored beside it and looked into", time.Since(began), time.Minute)
}

// overload has far more clients than the platform can serve call it as fast as
// they can.
func (c *chaos) overload() {
	const name = "E15 overload"
	rate := func(clients int) (answered int, x *Traffic) {
		x = &Traffic{site: c.site, counts: map[string]*counted{}, kinds: map[string]kind{"read, gRPC": {newMixed(c.site, nil).kinds["read, gRPC"].call, clients, 0}}}
		ctx, end := context.WithTimeout(c.Context(), quietFor)
		defer end()
		x.run(ctx)
		return x.all() - x.failed(), x
	}
	knee, _ := rate(32)
	answered, x := rate(1000)
	c.Logf("32 clients are answered %d calls in %v, 1000 clients %d\n%s", knee, quietFor, answered, x)
	c.figures = append(c.figures, Figure{name, "calls answered in 10s of 1000 clients, and of 32", fmt.Sprintf("%d, %d", answered, knee), "at least 80 %", answered*10 >= knee*8})
}
