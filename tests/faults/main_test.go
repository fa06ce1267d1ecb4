package faults

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/micro/platform/internal/porttest"
)

// The environment of this program when it is started again as a component.
const (
	componentEnv = "MICRO_TEST_FAULTS_COMPONENT"
	redisEnv     = "MICRO_TEST_FAULTS_REDIS"
	addressEnv   = "MICRO_TEST_FAULTS_ADDRESS"
)

func TestMain(m *testing.M) {
	serve := map[string]func(redisURL, address string) error{"events": serveEvents}[os.Getenv(componentEnv)]
	if serve == nil {
		os.Exit(m.Run())
	}
	if err := serve(os.Getenv(redisEnv), os.Getenv(addressEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// duration is how long the faults last.
func duration(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("MICRO_TEST_FAULTS")
	if text == "" {
		return 6 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// process is a program that is killed and started again.
type process struct {
	t     *testing.T
	start func() *exec.Cmd
	cmd   *exec.Cmd
}

func run(t *testing.T, start func() *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, start: start}
	p.up()
	t.Cleanup(p.kill)
	return p
}

func (p *process) up() {
	p.t.Helper()
	p.cmd = p.start()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) kill() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	p.cmd.Wait()         //nolint:errcheck // by the kill
}

func address(t *testing.T) string {
	t.Helper()
	port, err := porttest.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
}

// durableRedis starts a Redis with the settings of the platform's.
func durableRedis(t *testing.T) (*process, string) {
	t.Helper()
	dir, at := t.TempDir(), address(t)
	_, port, _ := net.SplitHostPort(at)
	p := run(t, func() *exec.Cmd {
		return exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "",
			"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction",
			"--logfile", filepath.Join(dir, "log"))
	})
	c := redis.NewClient(&redis.Options{Addr: at})
	defer c.Close()
	for deadline := time.Now().Add(10 * time.Second); c.Ping(context.Background()).Err() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("Redis does not come up")
		}
		<-time.After(10 * time.Millisecond)
	}
	return p, "redis://" + at
}

// component starts this program as a component.
func component(t *testing.T, name, redisURL, at string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return run(t, func() *exec.Cmd {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), componentEnv+"="+name, redisEnv+"="+redisURL, addressEnv+"="+at)
		cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
		return cmd
	})
}
