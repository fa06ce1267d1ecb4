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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/micro/platform/internal/app"
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
	// Components are those to run, in the order in which they start; all of
	// them when it is empty.
	Components []string
	// Twice are components of a platform that is apart with a second instance,
	// whose process is called "auth/2".
	Twice []string
	// TLS gives the components of a platform that is apart certificates.
	TLS bool
	// Servers is where the databases are, for a platform that is apart; it
	// brings its own when it is nil.
	Servers *app.Platform
	// Prepare changes the command of a process before it starts. It may be nil.
	Prepare func(*exec.Cmd)
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

	env       []string          // of every process
	apartEnv  []string          // and of those of a platform that is apart
	listen    map[string]string // where their processes listen
	processes []*process
	servers   *local.Servers
}

// apart lists the components in the order in which they start.
var apart = []string{"auth", "registry", "namespaces", "builder", "scheduler", "events", "runtime", "network", "config", "broker", "store", "inbox", "usage", "audit", "proxy", "gateway", "console"}

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
	p.env = append(Clean(os.Environ()),
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
	return p.start(ctx, "server", p.env, append([]string{"server", "--data-dir", p.dataDir()}, p.Components...)...)
}

func (p *Platform) startApart(ctx context.Context) error {
	at, err := p.databases(ctx)
	if err != nil {
		return err
	}
	p.apartEnv = append(p.env,
		"MICRO_POSTGRES_URL="+at.PostgresURL.Reveal(), "MICRO_REDIS_URL="+at.RedisURL.Reveal(),
		"MICRO_DURABLE_REDIS_URL="+at.DurableRedisURL.Reveal(),
		"MICRO_BUCKET_URL="+at.BucketURL, "MICRO_STATE_DIR="+at.StateDir, "MICRO_CLUSTER_SECRET="+at.ClusterSecret.Reveal(),
		"MICRO_ADMIN_PASSWORD=micro", "MICRO_AUTH_PUBLIC_PLATFORM=true")
	if err := p.place(); err != nil {
		return err
	}
	if p.TLS {
		if err := p.certificates(ctx); err != nil {
			return err
		}
	}
	migrate := exec.CommandContext(ctx, p.Micro, "migrate")
	migrate.Env = p.apartEnv
	if out, err := migrate.CombinedOutput(); err != nil {
		return fmt.Errorf("micro migrate: %w: %s", err, out)
	}
	names := p.Components
	if len(names) == 0 {
		names = apart
	}
	for _, name := range names {
		if err := p.Again(ctx, name); err != nil {
			return err
		}
	}
	for _, name := range p.Twice {
		if err := p.Again(ctx, name+second); err != nil {
			return err
		}
	}
	return nil
}

// second is what the name of a second instance ends with.
const second = "/2"

// edges are the components that clients connect to.
var edges = []string{"proxy", "gateway"}

// place finds an address for every process.
func (p *Platform) place() error {
	p.listen = map[string]string{}
	for _, name := range []string{"auth", "registry", "namespaces", "builder", "scheduler", "events", "runtime", "network", "config", "broker", "store", "usage", "audit"} {
		instances := []string{name}
		if slices.Contains(p.Twice, name) {
			instances = append(instances, name+second)
		}
		var all []string
		for _, i := range instances {
			address, err := freeAddress()
			if err != nil {
				return err
			}
			p.listen[i] = address
			all = append(all, address)
		}
		p.apartEnv = append(p.apartEnv, "MICRO_"+strings.ToUpper(name)+"_ADDRESS="+strings.Join(all, ","))
	}
	p.listen["proxy"], p.listen["gateway"] = p.Proxy, p.API
	for _, name := range edges {
		if !slices.Contains(p.Twice, name) {
			continue
		}
		address, err := freeAddress()
		if err != nil {
			return err
		}
		p.listen[name+second] = address
	}
	return nil
}

// Certificates is the directory of the authority and the certificates.
func (p *Platform) Certificates() string { return filepath.Join(p.Dir, "certs") }

// Listens answers where a process of a platform that is apart listens.
func (p *Platform) Listens(name string) string { return p.listen[name] }

// certificates makes one for every component.
func (p *Platform) certificates(ctx context.Context) error {
	dir := p.Certificates()
	p.apartEnv = append(p.apartEnv, "MICRO_TLS_DIR="+dir)
	for _, args := range [][]string{{"init", dir}, append([]string{"issue", "--dir", dir}, apart...)} {
		if out, err := exec.CommandContext(ctx, p.Micro, append([]string{"certs"}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("micro certs %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

// databases answers where they are, and starts them if nobody else has.
func (p *Platform) databases(ctx context.Context) (app.Platform, error) {
	if p.Servers != nil {
		return *p.Servers, nil
	}
	servers, err := local.Start(ctx, local.Options{DataDir: p.dataDir(), User: "postgres", RedisServer: "redis-server"}, app.Platform{})
	if err != nil {
		return app.Platform{}, err
	}
	p.servers = servers
	return servers.Platform, nil
}

// Set gives a setting another value, for what is started from now on of a platform
// that is apart.
func (p *Platform) Set(name, value string) { p.apartEnv = append(p.apartEnv, name+"="+value) }

// Again starts one component of a platform that is apart, or its second
// instance, at its address.
func (p *Platform) Again(ctx context.Context, name string) error {
	component := strings.TrimSuffix(name, second)
	env := slices.Clip(p.apartEnv)
	switch at := p.listen[name]; {
	case slices.Contains(edges, component): // its address is its clients', and its state its own
		env = append(env, "MICRO_"+strings.ToUpper(component)+"_ADDRESS="+at)
		if name != component {
			env = append(env, "MICRO_STATE_DIR="+filepath.Join(p.Dir, "state-2"))
		}
	case at != "":
		env = append(env, "MICRO_"+strings.ToUpper(component)+"_LISTEN="+at)
	}
	return p.start(ctx, name, env, "service", component)
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
	for _, x := range p.processes {
		if x.name == name {
			x.cmd.Process.Signal(syscall.SIGKILL) //nolint:errcheck // it may be gone
		}
	}
	p.Await(name)
}

// Leave stops a process as an operator would, by SIGTERM.
func (p *Platform) Leave(name string) {
	for _, x := range p.processes {
		if x.name == name {
			x.stop()
		}
	}
	p.Await(name)
}

// Await comes back when a process has ended.
func (p *Platform) Await(name string) {
	p.processes = slices.DeleteFunc(p.processes, func(x *process) bool {
		if x.name != name {
			return false
		}
		<-x.done
		return true
	})
}

func freeAddress() (string, error) {
	port, err := porttest.Reserve()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

// Clean leaves out of an environment what is set for another Micro.
func Clean(env []string) []string {
	var out []string
	for _, e := range env {
		if !strings.HasPrefix(e, "MICRO_") {
			out = append(out, e)
		}
	}
	return out
}
