package rpc

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/micro/platform/framework/errors"
)

// TestSilence looks at connections as the kernel tells of them.
func TestSilence(t *testing.T) {
	t.Parallel()
	const never = 0
	for _, tt := range []struct {
		name string
		at   func(look int) unix.TCPInfo
		want int  // looks after the first
		full bool // it has no room
	}{
		{"idle", func(int) unix.TCPInfo { return unix.TCPInfo{Delivered: 7} }, never, false},
		{"nothing is acknowledged", func(int) unix.TCPInfo { return unix.TCPInfo{Unacked: 2, Delivered: 7} }, 5, false},
		{"nor the probe of a connection that was idle", func(int) unix.TCPInfo { return unix.TCPInfo{Probes: 1, Delivered: 7} }, 5, false},
		{"nor what is sent after the probe", func(look int) unix.TCPInfo { return unix.TCPInfo{Probes: 1, Unacked: uint32(look / 3), Delivered: 7} }, 5, false},
		{"it was busy before", func(look int) unix.TCPInfo { return unix.TCPInfo{Unacked: 9, Delivered: uint32(min(1+look, 21))} }, 25, false},
		{"slow, but it goes on", func(look int) unix.TCPInfo { return unix.TCPInfo{Unacked: 9, Delivered: uint32(1 + look/5)} }, never, false},
		{"another byte is out at each look", func(look int) unix.TCPInfo { return unix.TCPInfo{Unacked: 1, Delivered: uint32(1 + look)} }, never, false},
		{"it does not read, and acknowledges probes", func(look int) unix.TCPInfo {
			return unix.TCPInfo{Probes: uint8(look % 5), Notsent_bytes: 1e6, Delivered: 7}
		}, never, true},
		{"it does not read, and answers nothing", func(int) unix.TCPInfo {
			return unix.TCPInfo{Probes: 1, Unacked: 1, Notsent_bytes: 1e6, Delivered: 7}
		}, never, true},
		{"it reads again, and is gone", func(look int) unix.TCPInfo {
			return unix.TCPInfo{Unacked: 1, Delivered: 7, Snd_wnd: uint32(look / 10)}
		}, 15, true},
		{"the kernel does not count", func(int) unix.TCPInfo { return unix.TCPInfo{Unacked: 9} }, never, false},
		{"far away", func(int) unix.TCPInfo { return unix.TCPInfo{Unacked: 2, Rtt: 500_000, Delivered: 7} }, 15, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := silence{tellsRoom: true}
			for look := range 50 {
				info := tt.at(look)
				if !tt.full {
					info.Snd_wnd = 1 << 16
				}
				if !s.lasts(&info) {
					continue
				}
				if look != tt.want {
					t.Errorf("it is silent at look %d, want %d", look, tt.want)
				}
				return
			}
			if tt.want != never {
				t.Errorf("it is not silent after 50 looks, want %d", tt.want)
			}
		})
	}
}

// TestRoomIsNotKnown looks at a connection whose kernel does not tell of room.
func TestRoomIsNotKnown(t *testing.T) {
	t.Parallel()
	var s silence
	looks := 0
	for !s.lasts(&unix.TCPInfo{Unacked: 2, Delivered: 7}) && looks < 50 {
		looks++
	}
	if looks != 5 {
		t.Errorf("it is silent at look %d, want 5", looks)
	}
}

// TestHostGoesSilent sends to a host that is gone, when the kernel would send again
// after 10 s only, and not give up before.
func TestHostGoesSilent(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may make a network of its own")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with this, and with it the network
		done <- silentHost(t.Context())
	}()
	if err := <-done; errors.Is(err, syscall.EPERM) || errors.Is(err, exec.ErrNotFound) {
		t.Skipf("it cannot be made: %v", err)
	} else if err != nil {
		t.Error(err)
	}
}

// TestNothingIsRead sends to a process that is there and reads nothing for longer
// than a host may be silent.
func TestNothingIsRead(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	const much = 64 << 20 // more than kernels keep
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(make([]byte, much))
		wrote <- err
	}()
	select {
	case err := <-wrote:
		t.Fatalf("%v while nothing was read", err)
	case <-time.After(3 * kernelSilence):
	}
	if n, err := io.CopyN(io.Discard, other, much); err != nil {
		t.Errorf("%v after %d bytes, want all %d", err, n, much)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// silentHost wants a thread of its own.
func silentHost(ctx context.Context) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := run(ctx, "ip link set lo up", "ip route replace local 127.0.0.1 dev lo table local rto_min 10s"); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	d := Dialer(componentIdle)
	tcp, err := d.DialContext(ctx, "tcp", l.Addr().String()) // by this thread, which alone is there
	if err != nil {
		return err
	}
	var p patience
	conn := noticed{watch(tcp.(*net.TCPConn), "nowhere"), &p}
	defer conn.Close()
	if err := run(ctx, "nft add table inet gone", "nft add chain inet gone in { type filter hook prerouting priority raw; policy drop; }"); err != nil {
		return err
	}
	conn.SetReadDeadline(time.Now().Add(3 * Silence)) //nolint:errcheck // Read says so
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
		return fmt.Errorf("%v after the host went: %v, want that it is silent", 3*Silence, err)
	}
	if p.silent.Load() == 0 {
		return fmt.Errorf("calls would wait for the host to come back")
	}
	return nil
}

func run(ctx context.Context, commands ...string) error {
	for _, command := range commands {
		args := strings.Fields(command)
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", command, err, out)
		}
	}
	return nil
}
