package containers

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/micro/platform/scheduler/plan"
)

// listening answers what the process of a container listens on, in order,
// taken from /proc: nothing when that cannot be read here, or when the process
// is another one by now.
func listening(pid int, container string) []socket {
	if pid <= 0 || !belongs(pid, container) {
		return nil
	}
	var out []socket
	for _, file := range []string{"tcp", "tcp6"} {
		b, err := readStart(fmt.Sprintf("/proc/%d/net/%s", pid, file))
		if err != nil {
			continue // no IPv6, or not allowed
		}
		for _, p := range parseSockets(b) {
			if i := slices.IndexFunc(out, func(o socket) bool { return o.port == p.port }); i >= 0 {
				out[i].loopback = out[i].loopback && p.loopback
			} else {
				out = append(out, p)
			}
		}
	}
	slices.SortFunc(out, func(a, b socket) int { return a.port - b.port })
	if !belongs(pid, container) { // another process may have got the number in between
		return nil
	}
	return out
}

// connections answers how many connections there are to plan.Port of a container,
// and to the ports that its process listens on. It is false where that cannot be seen.
func connections(pid int, container string) (n int, known bool) {
	if pid <= 0 || !belongs(pid, container) {
		return 0, false
	}
	for _, file := range []string{"tcp", "tcp6"} {
		b, err := readStart(fmt.Sprintf("/proc/%d/net/%s", pid, file))
		if err != nil {
			continue // no IPv6
		}
		known = true
		n += countConnections(b)
	}
	return n, known && belongs(pid, container)
}

// countConnections counts the connections of a /proc/net/tcp or tcp6 to plan.Port,
// on which a service that is stopping does not listen any more while it ends its
// calls, and to ports that are listened on.
func countConnections(b []byte) (n int) {
	open := map[int]bool{plan.Port: true}
	for _, p := range parseSockets(b) {
		open[p.port] = true
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || f[3] != establishedState {
			continue
		}
		if a, ok := parseSocket(f[1]); ok && open[int(a.Port())] {
			n++
		}
	}
	return n
}

// socketBytes is what is read of a list of sockets, in which those that listen
// come first. A container can have a hundred thousand.
const socketBytes = 256 << 10

func readStart(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, socketBytes))
}

// belongs says whether a process is in a container: its control groups bear
// the container's ID.
func belongs(pid int, container string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && bytes.Contains(b, []byte(container))
}

// What the fourth column of /proc/net/tcp says of a socket.
const (
	listenState      = "0A"
	establishedState = "01"
)

// parseSockets reads the listening sockets of a /proc/net/tcp or tcp6, without
// those of Docker's own name server.
func parseSockets(b []byte) []socket {
	var out []socket
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || f[3] != listenState {
			continue
		}
		a, ok := parseSocket(f[1])
		if ok && a.Addr() != dockerDNS {
			out = append(out, socket{port: int(a.Port()), loopback: a.Addr().Unmap().IsLoopback()})
		}
	}
	return out
}

// dockerDNS is where Docker's name server listens in each container.
var dockerDNS = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// parseSocket reads "0100007F:1F90": the address in words of 32 bits in the
// machine's order, and the port.
func parseSocket(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	raw, err2 := hex.DecodeString(host)
	if err != nil || err2 != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	a, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok
}
