package local

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports are taken from below the range that the kernel gives to outgoing
// connections (from 32768 on Linux), so that nobody gets one between the look
// and the use but by a rare accident.
const (
	firstPort = 20000
	lastPort  = 32000
)

// given are the ports that this process has handed out.
var given sync.Map

// FreePort answers a port of loopback that nobody listens on, and that this
// process has not been given before.
func FreePort() (int, error) {
	var last error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("find a free port: %w", last)
}
