// Package porttest gives tests ports of loopback for servers that are other
// processes. Tests of several packages run at the same time, each in a process
// of its own: a port is no other test's until the process that reserved it
// ends, also while the server on it is down or has not started yet.
package porttest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// The range is below the one that Linux gives to outgoing connections (from
// 32768), and apart from the one that a local server's own children take
// (internal/local).
const (
	first = 10000
	last  = 20000
)

// shadow is another address of loopback. Who listens there at a port has it
// reserved at 127.0.0.1: the kernel keeps the book, and forgets who ended.
const shadow = "127.77.0.1"

var (
	mu   sync.Mutex
	held []net.Listener
)

// Reserve answers a port of 127.0.0.1 that nobody listens on.
func Reserve() (int, error) {
	mu.Lock()
	defer mu.Unlock()
	var lastErr error
	for range 100 {
		port := first + rand.IntN(last-first)
		keep, err := net.Listen("tcp", fmt.Sprintf("%s:%d", shadow, port))
		if err != nil {
			lastErr = err
			continue
		}
		try, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			keep.Close()
			lastErr = err
			continue
		}
		held = append(held, keep)
		return port, try.Close()
	}
	return 0, fmt.Errorf("find a free port: %w", lastErr)
}
