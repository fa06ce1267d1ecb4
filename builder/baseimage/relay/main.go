// Command relay is what a build container runs. The container has no network:
// relay passes what comes to a port on its loopback on to the module proxy's
// socket, runs the command it is given, and writes the program that came of it
// to standard output.
//
//	relay COMMAND [ARGUMENT ...]
//
// It imports nothing but the standard library, since it is compiled where the
// base image is made.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

const (
	address = "127.0.0.1:3000"
	socket  = "/run/micro/modules.sock"
	program = "/tmp/program" // what the command makes
	caches  = "/cache"
	copies  = "/tmp/module" // go.mod and go.sum for a command that changes them
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		code = 125
	}
	os.Exit(code)
}

func run(command []string) (int, error) {
	if len(command) == 0 {
		return 0, errors.New("usage: relay COMMAND [ARGUMENT ...]")
	}
	timeout, err := time.ParseDuration(os.Getenv("RELAY_TIMEOUT"))
	if err != nil {
		return 0, fmt.Errorf("RELAY_TIMEOUT: %w", err)
	}
	// Nobody may be left to stop this container.
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := trim(caches, os.Getenv("RELAY_CACHE_LIMIT")); err != nil {
		return 0, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return 0, err
	}
	go serve(l)
	if module := os.Getenv("RELAY_MODULE"); module != "" {
		if err := copyModule(module); err != nil {
			return 0, err
		}
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr // standard output is the program's
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && ctx.Err() == nil {
			return max(exit.ExitCode(), 1), nil
		}
		return 0, err
	}
	f, err := os.Open(program)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	_, err = io.Copy(os.Stdout, f)
	return 0, err
}

// copyModule copies go.mod, and go.sum if there is one.
func copyModule(dir string) error {
	if err := os.Mkdir(copies, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(copies, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// trim empties the caches when they are larger than limit, in bytes.
func trim(caches, limit string) error {
	most, err := strconv.ParseInt(limit, 10, 64)
	if err != nil {
		return fmt.Errorf("RELAY_CACHE_LIMIT: %w", err)
	}
	var size int64
	err = filepath.WalkDir(caches, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // another build of the same namespace is at work
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	if err != nil || size <= most {
		return err
	}
	kinds, err := os.ReadDir(caches)
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		inside, err := os.ReadDir(filepath.Join(caches, kind.Name()))
		if err != nil {
			return err
		}
		for _, e := range inside {
			if err := os.RemoveAll(filepath.Join(caches, kind.Name(), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go pass(c)
	}
}

func pass(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		io.Copy(out, in)
		out.(*net.UnixConn).CloseWrite()
	}()
	io.Copy(in, out)
}
