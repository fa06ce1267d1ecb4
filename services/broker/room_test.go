package broker

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/redistest"
	brokerpb "github.com/micro/platform/proto/broker"
)

// TestRoomOfNamespace shows that what waits for all subscribers of a namespace
// is bounded, and that those go for whom most waits.
func TestRoomOfNamespace(t *testing.T) {
	t.Parallel()
	o := Options{Subscribers: 100, Buffer: 1000, BufferBytes: 1 << 20, NamespaceBytes: 2 << 20, Wait: time.Minute}
	p := start(t, o)
	ns := redistest.Namespace(t)
	var all []*subscriber
	for range 20 {
		s := newSubscriber(ns, "t", "", o)
		if err := p.bus.add(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		defer p.bus.remove(s)
		all = append(all, s)
	}
	m := &brokerpb.Message{Body: []byte(strings.Repeat("x", 100<<10))}
	taken := func() (n, ended int) {
		for _, s := range all {
			n += s.taken()
			if s.tooSlow() != nil {
				ended++
			}
		}
		return n, ended
	}
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	for range 9 { // less than one may have
		for _, s := range all {
			s.offer(m, false)
			p.bus.relieve(s.space)
		}
		if n, _ := taken(); n > o.NamespaceBytes {
			t.Fatalf("%d bytes wait, over %d", n, o.NamespaceBytes)
		}
	}
	n, ended := taken()
	if ended < 15 || ended == len(all) {
		t.Errorf("%d of %d ended", ended, len(all))
	}
	if got := all[0].space.taken.Load(); got != int64(n) {
		t.Errorf("the namespace is charged %d bytes, its subscribers take %d", got, n)
	}
	for _, s := range all {
		if err := s.tooSlow(); err != nil && (errors.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), ns)) {
			t.Errorf("one ended with %v", err)
		}
	}
}

// TestLate shows that a subscriber who takes nothing ends, also when nothing
// more comes, and one who has taken all does not.
func TestLate(t *testing.T) {
	t.Parallel()
	o := Options{Buffer: 10, BufferBytes: 1 << 20}
	m, now := &brokerpb.Message{Body: []byte("x")}, time.Now()
	idle, waits, sends := newSubscriber("demo", "t", "", o), newSubscriber("demo", "t", "", o), newSubscriber("demo", "t", "", o)
	for _, s := range []*subscriber{idle, waits, sends} {
		s.offer(m, false)
	}
	idle.next()
	idle.sent()
	sends.next()
	for _, tt := range []struct {
		what  string
		s     *subscriber
		after time.Duration
		ended bool
	}{
		{"one with nothing", idle, time.Hour, false},
		{"one for whom a message waits", waits, 30 * time.Second, false},
		{"one for whom a message waits long", waits, 61 * time.Second, true},
		{"one to whom a message is sent long", sends, 61 * time.Second, true},
	} {
		tt.s.endLate(now.Add(tt.after), time.Minute)
		if got := tt.s.tooSlow() != nil; got != tt.ended {
			t.Errorf("%s has ended: %v, want %v", tt.what, got, tt.ended)
		}
	}
	if idle.taken() != 0 {
		t.Errorf("%d bytes are taken by one with nothing", idle.taken())
	}
}
