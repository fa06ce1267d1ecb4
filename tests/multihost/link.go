package multihost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Cut takes the host off the network; Heal puts it back.
func (n *Node) Cut(ctx context.Context) error  { return n.atSwitch(ctx, "ip", "link set", "down") }
func (n *Node) Heal(ctx context.Context) error { return n.atSwitch(ctx, "ip", "link set", "up") }

// atSwitch runs a command of ip or tc about the host's cable, at the switch.
func (n *Node) atSwitch(ctx context.Context, program, what, how string) error {
	args := append([]string{program, "-n", n.rig.name("switch")}, strings.Fields(what)...)
	return run(ctx, append(append(args, "dev", n.Name), strings.Fields(how)...)...)
}

// trouble is something wrong with the network of a host that goes by again.
type trouble func(ctx context.Context, n *Node, begins bool) error

// alone: the host reaches nobody, and nobody reaches it.
func alone(ctx context.Context, n *Node, begins bool) error {
	if begins {
		return n.Cut(ctx)
	}
	return n.Heal(ctx)
}

// deaf: what others send does not come to the host.
func deaf(ctx context.Context, n *Node, begins bool) error {
	return n.filter(ctx, begins, "raw PREROUTING -i", "-j DROP")
}

// mute: what the host sends does not come to others.
func mute(ctx context.Context, n *Node, begins bool) error {
	return n.filter(ctx, begins, "mangle POSTROUTING -o", "-j DROP")
}

// lossy: a fifth of what others send does not come.
func lossy(ctx context.Context, n *Node, begins bool) error {
	return n.filter(ctx, begins, "raw PREROUTING -i", "-m statistic --mode random --probability 0.2 -j DROP")
}

// filter adds a rule about the host's cable to a chain of a table, or removes it.
func (n *Node) filter(ctx context.Context, add bool, where, what string) error {
	table, rest, _ := strings.Cut(where, " ")
	chain, way, _ := strings.Cut(rest, " ")
	how := "-D"
	if add {
		how = "-I"
	}
	args := append([]string{"iptables", "-w", "-t", table, how, chain, way, "eth0"}, strings.Fields(what)...)
	if out, err := n.Command(ctx, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// slow: the host's cable carries a megabit a second each way.
func slow(ctx context.Context, n *Node, begins bool) error {
	const queue = "root tbf rate 1mbit burst 16kb latency 400ms"
	own := func(how string) error {
		return run(ctx, append([]string{"tc", "-n", n.namespace(), "qdisc"}, strings.Fields(how)...)...)
	}
	if begins {
		return errors.Join(own("add dev eth0 "+queue), n.atSwitch(ctx, "tc", "qdisc add", queue))
	}
	return errors.Join(own("del dev eth0 root"), n.atSwitch(ctx, "tc", "qdisc del", "root"))
}

// Dial connects to an address from the host.
func (n *Node) Dial(ctx context.Context, address string) (net.Conn, error) {
	type dialed struct {
		conn net.Conn
		err  error
	}
	done := make(chan dialed, 1)
	go func() {
		var d dialed
		err := within("/run/netns/"+n.namespace(), func() { d.conn, d.err = (&net.Dialer{}).DialContext(ctx, "tcp", address) })
		d.err = errors.Join(err, d.err)
		done <- d
	}()
	d := <-done
	return d.conn, d.err
}

// within does something in a network namespace. The thread is left as it was: if
// it ended, what it has started would end with it, hosts among that.
func within(namespace string, do func()) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	other, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer other.Close()
	if err := unix.Setns(int(other.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	do()
	return unix.Setns(int(own.Fd()), unix.CLONE_NEWNET)
}
