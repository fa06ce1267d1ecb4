package multihost

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/certs"
	"github.com/micro/platform/internal/inbox"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/settings"
	"github.com/micro/platform/tests/platform"
)

// control are the components that run as processes, in the order in which they
// start.
var control = []string{"auth", "registry", "namespaces", "config", "audit", "usage", "events", "broker", "store", "images", "builder", "scheduler", "runtime", "network"}

// edges run as containers.
var edges = []string{"proxy", "gateway"}

// Site is the platform apart over the hosts of a rig.
type Site struct {
	Rig *Rig
	// Platform is for those who work on it from outside.
	Platform *platform.Platform

	micro     string
	network   string // that edges start in, and the image they have
	edgeImage string
	version   int // of the stack's secrets
	databases []*platform.Daemon
	env       []string
	closers   []io.Closer

	mu    sync.Mutex
	units []*Unit
}

// NewSite starts the databases and makes what all components share. control
// components are to run on the first of the rig's hosts, as many as that.
func NewSite(ctx context.Context, r *Rig, micro string, controllers int) (*Site, error) {
	s := &Site{Rig: r, micro: micro}
	if err := s.start(ctx, controllers); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Site) start(ctx context.Context, controllers int) error {
	s.network, s.edgeImage = "bridge", "micro:test"
	if err := errors.Join(s.startDatabases(ctx), s.certify(), s.receiveMail()); err != nil {
		return err
	}
	s.environ(controllers)
	migrate := exec.CommandContext(ctx, s.micro, "migrate")
	migrate.Env = s.env
	if out, err := migrate.CombinedOutput(); err != nil {
		return fmt.Errorf("micro migrate: %w: %s", err, out)
	}
	s.reach()
	if err := s.loadImages(ctx, controllers); err != nil {
		return err
	}
	err := s.Rig.each(func(n *Node) error {
		if i := slices.Index(s.Rig.Nodes, n); i >= controllers {
			return s.run(ctx, n, "host")
		}
		return s.run(ctx, n, append([]string{"host"}, control...)...)
	})
	if err != nil {
		return err
	}
	return s.Rig.each(func(n *Node) error { return s.startEdges(ctx, n) })
}

// reach says where people find the platform: at the first host, which is not lost
// while they do anything.
func (s *Site) reach() {
	first := s.Rig.Nodes[0]
	s.Platform = &platform.Platform{Config: platform.Config{Micro: s.micro, Dir: s.Rig.Dir}, API: first.Address + ":8080", Proxy: first.Address + ":8081", Inbox: s.Rig.Address + ":8026"}
}

// startDatabases starts them on this machine, which is never lost.
func (s *Site) startDatabases(ctx context.Context) error {
	postgres, err := platform.NewPostgres(filepath.Join(s.Rig.Dir, "postgres"), s.Rig.Address)
	if err != nil {
		return err
	}
	s.databases = append(s.databases, postgres)
	for _, name := range []string{"redis", "redis-durable"} {
		redis, err := platform.NewRedis(filepath.Join(s.Rig.Dir, name), s.Rig.Address)
		if err != nil {
			return err
		}
		s.databases = append(s.databases, redis)
	}
	for _, d := range s.databases {
		if err := d.Up(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) certsDir() string { return filepath.Join(s.Rig.Dir, "certs") }

// certify makes a certificate for every component, and one for the mail server.
func (s *Site) certify() error {
	a := certs.Open(s.certsDir())
	errs := []error{a.Init()}
	for _, name := range slices.Concat(control, edges, []string{"host", "inbox"}) {
		_, err := a.Issue(name, []string{s.Rig.Address}, time.Hour)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// receiveMail runs an inbox beside the hosts. Components on other hosts hand
// mail over by TLS only.
func (s *Site) receiveMail() error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.certsDir(), "inbox.pem"), filepath.Join(s.certsDir(), "inbox.key"))
	if err != nil {
		return err
	}
	mails, err := tls.Listen("tcp", s.Rig.Address+":465", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	pages, err := net.Listen("tcp", s.Rig.Address+":8026")
	if err != nil {
		return err
	}
	box := inbox.New(time.Now)
	in, out := box.SMTP(slog.New(slog.DiscardHandler)), box.HTTP()
	s.closers = append(s.closers, in, out)
	go in.Serve(mails)  //nolint:errcheck // it ends by Close
	go out.Serve(pages) //nolint:errcheck // likewise
	return nil
}

// environ makes the environment that all components share.
func (s *Site) environ(controllers int) {
	bucket := filepath.Join(s.Rig.Dir, "bucket")
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"SSL_CERT_FILE=" + filepath.Join(s.certsDir(), "ca.pem"), // of the mail server
		"MICRO_POSTGRES_URL=" + s.databases[0].URL, "MICRO_REDIS_URL=" + s.databases[1].URL, "MICRO_DURABLE_REDIS_URL=" + s.databases[2].URL,
		"MICRO_BUCKET_URL=file://" + bucket + "?create_dir=true&no_tmp_dir=true&metadata=skip",
		"MICRO_CLUSTER_SECRET=" + pgtest.Secret, "MICRO_ADMIN_PASSWORD=" + adminPassword, "MICRO_AUTH_PUBLIC_PLATFORM=true", "MICRO_AUTH_USER_TOKEN=" + tokenLife,
		"MICRO_TLS_DIR=" + s.certsDir(), "MICRO_SMTP_ADDRESS=" + s.Rig.Address + ":465",
		"MICRO_HOST_ADDRESS=:8017", "MICRO_PROXY_CONTAINER_ADDRESS=none", "MICRO_PROXY_EGRESS_ADDRESS=0.0.0.0:8083",
		"MICRO_GATEWAY_ADDRESS=0.0.0.0:8080", "MICRO_PROXY_ADDRESS=0.0.0.0:8081",
		"MICRO_GATEWAY_CONNECTIONS=0", "MICRO_PROXY_CONNECTIONS=0", // all clients are on one machine
		"MICRO_BUILDER_MODULE_PROXY=file://" + moduleCache(), "MICRO_BUILDER_PUSH=true", "MICRO_SCHEDULER_NETWORKS=overlay",
		"MICRO_BUILDER_GVISOR=auto", "MICRO_SCHEDULER_FIREWALL=auto", // the hosts have none
		"MICRO_PROXY_EGRESS_OPEN=" + s.Rig.Address + "/32", // pages of tests, which are outside
	}
	contained := "auto"
	if slices.ContainsFunc(s.Rig.Nodes, func(n *Node) bool { return n.GVisor }) {
		contained = "require"
	}
	s.env = append(s.env, "MICRO_SCHEDULER_GVISOR="+contained)
	for _, name := range control {
		var all []string
		for _, n := range s.Rig.Nodes[:controllers] {
			all = append(all, n.Address+":"+ports[name])
		}
		s.env = append(s.env, "MICRO_"+strings.ToUpper(name)+"_ADDRESS="+strings.Join(all, ","))
	}
}

// adminPassword is of account admin of namespace micro.
const adminPassword = "micro-on-several-hosts"

// tokenLife is longer than all experiments take: the tenant's calls do not renew
// their token.
const tokenLife = "3h"

// ports are those of docs/apart.md.
var ports = map[string]string{
	"registry": "8000", "config": "8001", "store": "8002", "broker": "8003", "events": "8005", "auth": "8010", "namespaces": "8011",
	"builder": "8012", "scheduler": "8013", "network": "8014", "usage": "8015", "audit": "8016", "images": "8018", "runtime": "8088",
}

// moduleCache is what go build has downloaded on this machine.
func moduleCache() string {
	out, _ := exec.Command("go", "env", "GOMODCACHE").Output() // a build without it says what it lacks
	return filepath.Join(strings.TrimSpace(string(out)), "cache", "download")
}

// cluster is what the platform's things in Docker bear as micro.cluster.
func cluster() string { return app.Platform{ClusterSecret: settings.Secret(pgtest.Secret)}.ClusterID() }

// run starts components on a host, one after the other.
func (s *Site) run(ctx context.Context, n *Node, components ...string) error {
	for _, name := range components {
		state := filepath.Join(n.Dir, "state", name)
		if err := os.MkdirAll(state, 0o755); err != nil {
			return err
		}
		env := append(slices.Clip(s.env), "MICRO_STATE_DIR="+state, "MICRO_BUILDER_DIR="+filepath.Join(n.Dir, "builds"), "MICRO_OPS_ADDRESS="+opsOf(name))
		u, err := startUnit(ctx, n, s.micro, name, env)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.units = append(s.units, u)
		s.mu.Unlock()
	}
	return nil
}

// Unit answers a component's unit on a host, or nil.
func (s *Site) Unit(component string, n *Node) *Unit {
	for _, u := range s.units {
		if u.Component == component && u.Node == n {
			return u
		}
	}
	return nil
}

// Close stops everything that the site has started outside of the hosts; what is
// on them ends with them.
func (s *Site) Close() error {
	var errs []error
	for _, u := range s.units {
		u.leave()
	}
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	for _, d := range s.databases {
		errs = append(errs, d.Kill())
	}
	return errors.Join(errs...)
}
