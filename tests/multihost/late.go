package multihost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/micro/platform/tests/platform"
)

// What comes to a late host comes after lag, give or take jitter, which is another
// one every wander: packets keep their order.
const (
	lag    = 200 * time.Millisecond
	jitter = 50 * time.Millisecond
	wander = 100 * time.Millisecond
	// queue is the number of the queue in each host, which nobody else uses.
	queue = 1
)

// late: what others send comes late to the host. The kernel asks a program what to
// do with each packet, and that thinks it over.
func late(ctx context.Context, n *Node, begins bool) error {
	where, what := "raw PREROUTING -i", fmt.Sprintf("-j NFQUEUE --queue-num %d", queue)
	if begins {
		var err error
		if n.waiting, err = openWaiting(n); err != nil {
			return err
		}
		if err := n.filter(ctx, true, where, what); err != nil {
			return errors.Join(err, n.waiting.Close())
		}
		return nil
	}
	err := n.filter(ctx, false, where, what)
	platform.Until(ctx, time.Now().Add(lag+2*jitter)) // what is in it goes out
	return errors.Join(err, n.waiting.Close())
}

// waiting is a queue of packets between a host's kernel and this program.
type waiting struct {
	conn    *netlink.Conn
	out     chan heldBack
	closing chan struct{}
	ended   sync.WaitGroup
	failed  error // of receiving, and unsent of sending: once they have ended
	unsent  error
}

// heldBack is a packet by the number that the kernel gave it.
type heldBack struct {
	id  uint32
	due time.Time
}

// waitingRoom is how many packets may wait: of what a gigabit brings in a lag,
// more than all.
const waitingRoom = 1 << 16

// openWaiting binds a queue in the host's network namespace.
func openWaiting(n *Node) (*waiting, error) {
	w := &waiting{out: make(chan heldBack, waitingRoom), closing: make(chan struct{})}
	var err error
	if entered := within("/run/netns/"+n.namespace(), func() { w.conn, err = netlink.Dial(unix.NETLINK_NETFILTER, nil) }); entered != nil || err != nil {
		return nil, errors.Join(entered, err)
	}
	// What is too much at once is lost as it is on a cable.
	err = errors.Join(w.conn.SetReadBuffer(8<<20), w.conn.SetOption(netlink.NoENOBUFS, true), w.configure())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("queue packets: %w", err), w.conn.Close())
	}
	w.ended.Go(w.take)
	w.ended.Go(w.give)
	return w, nil
}

// Messages of linux/netfilter/nfnetlink_queue.h.
const (
	queuePacket = unix.NFNL_SUBSYS_QUEUE<<8 + iota
	queueVerdict
	queueConfig
)

// Their attributes, and values of these.
const (
	configCommand = 1
	configParams  = 2
	configLength  = 3
	configMask    = 4
	configFlags   = 5

	packetHeader  = 1
	verdictHeader = 2

	commandBind   = 1
	copyMeta      = 1
	flagWholeGSO  = 4 // large packets are not cut up for us
	verdictAccept = 1
)

// configure binds the queue, of which nothing but the numbers of packets is wanted.
func (w *waiting) configure() error {
	number := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for _, attributes := range [][]netlink.Attribute{
		{{Type: configCommand, Data: []byte{commandBind, 0, 0, unix.AF_INET}}},
		{{Type: configParams, Data: append(number(0), copyMeta)}},
		{{Type: configLength, Data: number(waitingRoom)}},
		{{Type: configFlags, Data: number(flagWholeGSO)}, {Type: configMask, Data: number(flagWholeGSO)}},
	} {
		m, err := w.message(queueConfig, netlink.Acknowledge, attributes)
		if err == nil {
			_, err = w.conn.Execute(m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *waiting) message(kind netlink.HeaderType, flags netlink.HeaderFlags, attributes []netlink.Attribute) (netlink.Message, error) {
	b, err := netlink.MarshalAttributes(attributes)
	head := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, queue)
	return netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request | flags}, Data: append(head, b...)}, err
}

// take notes what comes, in its order, until Close.
func (w *waiting) take() {
	defer close(w.out)
	var last, other time.Time
	var held time.Duration
	for {
		messages, err := w.conn.Receive()
		if errors.Is(err, unix.ENOENT) { // a verdict on what the kernel has dropped
			continue
		}
		if err != nil {
			select {
			case <-w.closing:
			default:
				w.failed = fmt.Errorf("receive packets: %w", err)
			}
			return
		}
		for _, m := range messages {
			if id, is := packetOf(m); is {
				now := time.Now()
				if now.After(other) {
					held, other = lag-jitter+rand.N(2*jitter), now.Add(wander)
				}
				if due := now.Add(held); due.After(last) {
					last = due
				}
				w.out <- heldBack{id, last}
			}
		}
	}
}

// packetOf answers the number of the packet that a message is about.
func packetOf(m netlink.Message) (id uint32, is bool) {
	if m.Header.Type != queuePacket || len(m.Data) < 4 {
		return 0, false
	}
	attributes, err := netlink.UnmarshalAttributes(m.Data[4:])
	if err != nil {
		return 0, false
	}
	i := slices.IndexFunc(attributes, func(a netlink.Attribute) bool { return a.Type == packetHeader && len(a.Data) >= 4 })
	if i < 0 {
		return 0, false
	}
	return binary.BigEndian.Uint32(attributes[i].Data), true
}

// give lets each packet go when it is due.
func (w *waiting) give() {
	for p := range w.out {
		platform.Until(context.Background(), p.due)
		verdict := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, verdictAccept), p.id)
		m, err := w.message(queueVerdict, 0, []netlink.Attribute{{Type: verdictHeader, Data: verdict}})
		if err == nil {
			_, err = w.conn.Send(m)
		}
		if err != nil && w.unsent == nil {
			w.unsent = fmt.Errorf("let a packet go: %w", err)
		}
	}
}

// Close ends the queue. What waits in it is lost.
func (w *waiting) Close() error {
	close(w.closing)
	err := w.conn.Close()
	w.ended.Wait()
	return errors.Join(err, w.failed, w.unsent)
}
