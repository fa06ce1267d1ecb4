// Command demo goes through the whole journey of Micro on a server of its own:
// sign up, make a service, deploy it from source, call it in every way, change
// it, and see that a second namespace is a world apart. It prints each command
// and its answer, times each step, and leaves nothing behind but caches.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/micro/platform/tests/platform"
)

// limit bounds the whole demo, with cold caches on a slow machine.
const limit = 15 * time.Minute

func main() {
	micro := flag.String("micro", "bin/micro", "the micro program")
	verbose := flag.Bool("v", false, "show what the server prints")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	started := time.Now()
	step, err := run(ctx, *micro, *verbose)
	cancel()
	stop()
	if err != nil {
		fmt.Printf("demo: failed at %s: %v\n", step, err)
		os.Exit(1)
	}
	fmt.Printf("demo: ok in %.1f\n", time.Since(started).Seconds())
}

// run goes through the steps and answers the name of the one that failed.
func run(ctx context.Context, micro string, verbose bool) (step string, err error) {
	micro, err = filepath.Abs(micro)
	if err != nil {
		return "preparing", err
	}
	dir, err := os.MkdirTemp("", "micro-demo-")
	if err != nil {
		return "preparing", err
	}
	defer os.RemoveAll(dir)
	host, err := openHost(ctx)
	if err != nil {
		return "preparing", err
	}
	d := &demo{ctx: ctx, host: host, config: platform.Config{Micro: micro, Dir: dir}}
	if verbose {
		d.config.Log = os.Stderr
	}
	defer func() {
		if closing := d.close(); closing != nil && err == nil {
			step, err = "leaving nothing behind", closing
		}
	}()
	for _, s := range d.steps() {
		fmt.Printf("\n== %s\n", s.name)
		began := time.Now()
		if err := s.do(); err != nil {
			return s.name, err
		}
		took := time.Since(began)
		d.timed = append(d.timed, timing{s.name, took})
		fmt.Printf("   (%.1f s)\n", took.Seconds())
	}
	d.report()
	return "", nil
}
