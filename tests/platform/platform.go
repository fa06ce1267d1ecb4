// Package platform starts Micro for the tests and for the demo, as a person
// would: the micro program, on free ports, with a data directory of its own;
// in one process, or with every component as a process of its own.
package platform

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/micro/platform/internal/local"
	"github.com/micro/platform/internal/porttest"
)

// Config says what to start.
type Config struct {
	// Micro is the path of the program.
	Micro string
	// Dir holds the data directory and the people's homes.
	Dir string
	// Apart runs every component as a process of its own.
	Apart bool
	// Env is added to the server's environment.
	Env []string
	// Log takes what the processes print. It may be nil.
	Log io.Writer
}

// Platform is a running server.
type Platform struct {
	Config
	// API, Proxy, Console and Inbox are the addresses people use, host:port.
	API, Proxy, Console, Inbox string

	env       []string
	processes []*process
	servers   *local.Servers
}

// apart lists the components in the order in which they start.
var apart = []string{"auth", "registry", "namespaces", "builder", "scheduler", "runtime", "network", "config", "broker", "inbox", "usage", "proxy", "gateway", "console"}

// Start starts the platform and comes back when it is ready.
func Start(ctx context.Context, cfg Config) (*Platform, error) {
	p := &Platform{Config: cfg}
	smtp := ""
	for _, a := range []*string{&p.API, &p.Proxy, &p.Console, &p.Inbox, &smtp} {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		*a = address
	}
	p.env = append(clean(os.Environ()),
		"MICRO_GATEWAY_ADDRESS="+p.API, "MICRO_PROXY_ADDRESS="+p.Proxy, "MICRO_CONSOLE_ADDRESS="+p.Console,
		"MICRO_INBOX_ADDRESS="+p.Inbox, "MICRO_INBOX_SMTP_ADDRESS="+smtp, "MICRO_SMTP_ADDRESS="+smtp)
	p.env = append(p.env, cfg.Env...)
	return p, p.Restart(ctx)
}

// Restart starts a stopped platform again, on the same addresses and data.
func (p *Platform) Restart(ctx context.Context) error {
	start := p.startTogether
	if p.Apart {
		start = p.startApart
	}
	err := start(ctx)
	if err == nil {
		err = p.reachable(ctx)
	}
	if err != nil {
		p.Stop()
	}
	return err
}

func (p *Platform) startTogether(ctx context.Context) error {
	_, err := p.start(ctx, p.env, "server", "--data-dir", p.dataDir())
	return err
}

func (p *Platform) startApart(ctx context.Context) error {
	servers, err := local.Start(ctx, local.Options{DataDir: p.dataDir(), User: "postgres", RedisServer: "redis-server"}, apartPlatform)
	if err != nil {
		return err
	}
	p.servers = servers
	env := append(p.env,
		"MICRO_POSTGRES_URL="+servers.Platform.PostgresURL.Reveal(), "MICRO_REDIS_URL="+servers.Platform.RedisURL.Reveal(),
		"MICRO_DURABLE_REDIS_URL="+servers.Platform.DurableRedisURL.Reveal(),
		"MICRO_BUCKET_URL="+servers.Platform.BucketURL, "MICRO_STATE_DIR="+servers.Platform.StateDir, "MICRO_CLUSTER_SECRET="+servers.Platform.ClusterSecret.Reveal(),
		"MICRO_ADMIN_PASSWORD=micro", "MICRO_AUTH_PUBLIC_PLATFORM=true")
	for _, name := range []string{"auth", "registry", "namespaces", "builder", "scheduler", "runtime", "network", "config", "broker", "usage"} {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		env = append(env, "MICRO_"+strings.ToUpper(name)+"_ADDRESS="+address)
	}
	migrate := exec.CommandContext(ctx, p.Micro, "migrate")
	migrate.Env = env
	if out, err := migrate.CombinedOutput(); err != nil {
		return fmt.Errorf("micro migrate: %w: %s", err, out)
	}
	for _, name := range apart {
		if _, err := p.start(ctx, env, "service", name); err != nil {
			return err
		}
	}
	return nil
}

func (p *Platform) dataDir() string { return filepath.Join(p.Dir, "server") }

// reachable waits until the API answers.
func (p *Platform) reachable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.API+"/", nil)
		if err != nil {
			return err
		}
		rsp, err := http.DefaultClient.Do(req)
		if err == nil {
			rsp.Body.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop stops everything as an operator would, by SIGTERM, in reverse order, and
// answers how long it took.
func (p *Platform) Stop() time.Duration {
	started := time.Now()
	for i := len(p.processes) - 1; i >= 0; i-- {
		p.processes[i].stop()
	}
	p.processes = nil
	if p.servers != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		p.servers.Stop(ctx)
		p.servers = nil
	}
	return time.Since(started)
}

// Processes answers the process ids, for those who measure or kill.
func (p *Platform) Processes() map[string]int {
	pids := map[string]int{}
	for _, x := range p.processes {
		pids[x.name] = x.cmd.Process.Pid
	}
	return pids
}

// Kill ends a process without warning, and does not start it again.
func (p *Platform) Kill(name string) {
	for i, x := range p.processes {
		if x.name == name {
			x.cmd.Process.Signal(syscall.SIGKILL) //nolint:errcheck // it may be gone
			<-x.done
			p.processes = append(p.processes[:i], p.processes[i+1:]...)
			return
		}
	}
}

func freeAddress() (string, error) {
	port, err := porttest.Reserve()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

// clean leaves out what the surroundings set for another Micro.
func clean(env []string) []string {
	var out []string
	for _, e := range env {
		if !strings.HasPrefix(e, "MICRO_") {
			out = append(out, e)
		}
	}
	return out
}
