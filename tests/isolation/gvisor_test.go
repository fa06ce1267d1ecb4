package isolation

import (
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/dockertest"
)

// TestIsolationInGVisor deploys the hostile program where gVisor is required,
// for builds and for services, in a Docker of its own that has it as default
// runtime.
func TestIsolationInGVisor(t *testing.T) {
	if !dockertest.Apart(t) {
		return
	}
	// What the machine's Docker builds in.
	copied := exec.CommandContext(t.Context(), "sh", "-c", "docker -H unix:///var/run/docker.sock save micro/builder-go:latest | docker load")
	if out, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("copy the image for builds: %v: %s", err, out)
	}
	resolver := nameserver(t)
	cache, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, "MICRO_BUILDER_GVISOR=require", "MICRO_SCHEDULER_GVISOR=require", "MICRO_SCHEDULER_FIREWALL=require",
		"MICRO_SCHEDULER_RESOLVERS="+resolver, "MICRO_BUILDER_TIMEOUT=10m",
		// There is no way out of this network: what the program needs, this test was built of.
		"MICRO_BUILDER_MODULE_PROXY=file://"+filepath.Join(strings.TrimSpace(string(cache)), "cache", "download"))
	b.alice.deploy(t, "neighbour")
	b.mallory.deploy(t, "hostile")
	b.mallory.deploy(t, "peer")
	if !b.inGVisor(t) {
		t.Error("the service runs in another runtime")
	}
	t.Run("names", func(t *testing.T) {
		rsp := b.mallory.try(t, "hostile", "Lookup", request{Targets: []string{"example.com"}})
		if got := rsp.Results["example.com"]; got != answered {
			t.Errorf("example.com is %q, want %s", got, answered)
		}
	})
	t.Run("S6 T3 T8 network", b.network)
	t.Run("S4 T2 escape", b.escape)
}

// answered is what the test's name server says of every name.
const answered = "203.0.113.7"

// nameserver serves names on an address of docker0, which containers reach.
func nameserver(t *testing.T) string {
	t.Helper()
	at, err := dockerhost.Gateway(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 53)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for question := make([]byte, 512); ; {
			n, from, err := conn.ReadFromUDPAddrPort(question)
			if err != nil {
				return
			}
			conn.WriteToUDPAddrPort(answer(question[:n]), from) //nolint:errcheck // it asks again
		}
	}()
	return at.String()
}

// answer answers a question for one name: its IPv4 address, and nothing else.
func answer(question []byte) []byte {
	const header, class = 12, 4
	end := header
	for end < len(question) && question[end] != 0 {
		end += int(question[end]) + 1
	}
	end += 1 + class
	if end > len(question) {
		return nil
	}
	out := append([]byte{question[0], question[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question[header:end]...)
	if question[end-3] != 1 { // not of type A
		return out
	}
	out[7] = 1
	out = append(out, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
	return append(out, netip.MustParseAddr(answered).AsSlice()...)
}
