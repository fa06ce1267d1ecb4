package containers

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestParseSockets(t *testing.T) {
	t.Parallel()
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B00007F:A1B2 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65532        0 2 1 0 100 0 0 10 0
   2: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65532        0 3 1 0 100 0 0 10 0
   3: 0200C90A:1F92 0100C90A:0050 01 00000000:00000000 00:00000000 00000000 65532        0 4 1 0 100 0 0 10 0
   4: 00000000000000000000000000000000:1F93 00000000000000000000000000000000:0000 0A 0:0 0:0 0 65532 0 5 1 0 100 0 0 10 0
   5: 00000000000000000000000001000000:1F94 00000000000000000000000000000000:0000 0A 0:0 0:0 0 65532 0 6 1 0 100 0 0 10 0
   6: nonsense 0 0A
`
	want := []socket{{8080, true}, {8081, false}, {8083, false}, {8084, true}}
	got := parseSockets([]byte(table))
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
}

// TestCountConnections counts what comes in, not what the process calls itself.
func TestCountConnections(t *testing.T) {
	t.Parallel()
	const table = `  sl  local_address rem_address   st
   0: 00000000:1F92 00000000:0000 0A
   1: 0200C90A:1F92 0100C90A:C350 01
   2: 0200C90A:1F92 0100C90A:C351 06
   3: 0200C90A:C352 0100C90A:1F91 01
   4: 0200C90A:1F90 0100C90A:C353 01
   5: nonsense 0 01
`
	if n := countConnections([]byte(table)); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// TestListening reads the tables of this process.
func TestListening(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	group := strings.TrimSpace(strings.SplitN(string(b), "\n", 2)[0])
	ports := listening(os.Getpid(), group)
	if port := l.Addr().(*net.TCPAddr).Port; hears(ports, port) || !slices.Contains(ports, socket{port, true}) {
		t.Errorf("%v does not have %d on loopback", ports, port)
	}
	if ports := listening(os.Getpid(), "another container"); ports != nil {
		t.Error("the process was taken for another container's")
	}
}

func FuzzParseSockets(f *testing.F) {
	f.Add([]byte("0: 0100007F:1F90 00000000:0000 0A"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range parseSockets(b) {
			if p.port < 0 || p.port > 65535 {
				t.Fatal(p)
			}
		}
	})
}
