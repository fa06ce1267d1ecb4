// Command env runs a command with the servers that the tests want: a Postgres
// and a Redis of its own, on loopback, without durability, gone afterwards.
//
//	go run ./tests/env go test ./...
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/micro/platform/internal/local"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("tests/env: ")
	if len(os.Args) < 2 {
		log.Fatal("usage: env COMMAND [ARGUMENT ...]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		log.Fatal(err)
	}
	os.Exit(code)
}

func run(ctx context.Context, command []string) (int, error) {
	dir, err := os.MkdirTemp("", "micro-tests-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	servers, err := local.StartForTests(ctx, local.Options{DataDir: dir, User: "postgres", RedisServer: "redis-server"})
	if err != nil {
		return 0, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		servers.Stop(ctx)
	}()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		"MICRO_TEST_POSTGRES_URL="+servers.Platform.PostgresURL.Reveal(),
		"MICRO_TEST_REDIS_URL="+servers.Platform.RedisURL.Reveal())
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", command[0], err)
	}
	return 0, nil
}
