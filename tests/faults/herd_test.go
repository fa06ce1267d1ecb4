package faults

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/internal/cli/remote"
	"github.com/micro/platform/internal/porttest"
	authpb "github.com/micro/platform/proto/auth"
	storepb "github.com/micro/platform/proto/store"
	"github.com/micro/platform/tests/platform"
)

const (
	// herdSize is how many clients come back, with herdTokens API tokens.
	herdSize   = 2000
	herdTokens = 20
	// herdWithin is how soon all are answered.
	herdWithin = 5 * time.Second
)

// herd has clients of one edge, each with a connection of its own, come back at
// once when it has started again and knows nothing.
func (c *chaos) herd() {
	const name = "E14 clients come back"
	tokens := c.apiTokens()
	clients := make([]*grpc.ClientConn, herdSize)
	for i := range clients {
		conn, err := remote.Dial(c.site.Platform.Proxy, quick)
		if err != nil {
			c.Fatal(err)
		}
		defer conn.Close()
		clients[i] = conn
	}
	c.herdCalls(clients, tokens) // connected
	var took time.Duration
	var lookups int
	watching, stop := context.WithCancel(c.Context())
	var most atomic.Int64
	var watch sync.WaitGroup
	watch.Go(func() { c.watchConnections(watching, &most) })
	x := c.under(name, func(context.Context) map[string]int {
		c.site.Platform.Leave("proxy")
		before := c.auths.exchanges()
		c.again("proxy")
		began := time.Now()
		c.herdCalls(clients, tokens)
		took, lookups = time.Since(began), c.auths.exchanges()-before
		return told(1)
	})
	stop()
	watch.Wait()
	c.figures.most(name, "2000 clients are answered", took, herdWithin)
	c.figures.share(name, "calls of others failed", x.failed(), x.all(), 0)
	c.figures = append(c.figures, Figure{name, "tokens that auth was asked for", fmt.Sprint(lookups), fmt.Sprintf("%d to %d", herdTokens, herdSize/20), lookups >= herdTokens && lookups <= herdSize/20})
	c.figures.count(name, "connections to Postgres, which allows 200", int(most.Load()), 180)
}

// herdCalls has every client call until it is answered.
func (c *chaos) herdCalls(clients []*grpc.ClientConn, tokens []string) {
	var all sync.WaitGroup
	for i, conn := range clients {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(c.Context(), "authorization", "Bearer "+tokens[i%len(tokens)]), time.Minute)
			defer cancel()
			for {
				_, err := storepb.NewStoreClient(conn).Read(ctx, readSteady(), grpc.WaitForReady(true))
				if err == nil {
					return
				}
				if !platform.Until(ctx, time.Now().Add(tryAgain)) {
					c.Errorf("client %d is not answered in a minute: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
}

func (c *chaos) apiTokens() []string {
	token, err := c.site.accessToken(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(c.Context(), "authorization", "Bearer "+token)
	var all []string
	for i := range herdTokens {
		rsp, err := authpb.NewTokensClient(c.site.conn).Create(ctx, &authpb.CreateTokenRequest{Name: fmt.Sprintf("herd-%d", i), Grants: []string{"store:*:read"}})
		if err != nil {
			c.Fatal(err)
		}
		all = append(all, rsp.GetSecret())
	}
	return all
}

// watchConnections keeps the highest number of connections to Postgres.
func (c *chaos) watchConnections(ctx context.Context, most *atomic.Int64) {
	conn, err := pgx.Connect(ctx, c.servers.postgres.URL)
	if err != nil {
		c.Error(err)
		return
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the server ends, too
	for platform.Until(ctx, time.Now().Add(50*time.Millisecond)) {
		var n int64
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE client_port IS NOT NULL").Scan(&n); err != nil && ctx.Err() == nil {
			c.Error(err)
			return
		}
		most.Store(max(most.Load(), n))
	}
}

// opsAddresses are where the processes of auth say how they are.
type opsAddresses struct {
	mu  sync.Mutex
	all []string
}

// prepare gives a process of auth an address.
func (o *opsAddresses) prepare(cmd *exec.Cmd) {
	if cmd.Args[len(cmd.Args)-1] != "auth" {
		return
	}
	port, err := porttest.Reserve()
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	at := fmt.Sprintf("127.0.0.1:%d", port)
	o.all = append(o.all, at)
	cmd.Env = append(slices.Clip(cmd.Env), "MICRO_OPS_ADDRESS="+at)
}

// exchanges answers how often auth was asked for an API token, by those of its
// processes that run.
func (o *opsAddresses) exchanges() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, at := range o.all {
		rsp, err := http.Get("http://" + at + "/metrics")
		if err != nil {
			continue // it was replaced
		}
		for lines := bufio.NewScanner(rsp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), "} ")
			if strings.HasPrefix(name, "micro_call_seconds_count{") && strings.Contains(name, "Components/Exchange\"") {
				v, err := strconv.Atoi(value)
				if err == nil {
					n += v
				}
			}
		}
		rsp.Body.Close()
	}
	return n
}
