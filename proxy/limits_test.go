package proxy

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

func TestAnonymous(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	a := newAnonymous(2) // 40 at once
	a.now = func() time.Time { return now }
	call := func(address string) error {
		leave, err := a.enter(address)
		if err == nil {
			leave()
		}
		return err
	}
	for i := range 40 {
		if err := call("192.0.2.1"); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if err := call("192.0.2.1"); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more: %v", err)
	}
	if err := call("192.0.2.2"); err != nil {
		t.Errorf("another address: %v", err)
	}
	now = now.Add(time.Second)
	if err := call("192.0.2.1"); err != nil {
		t.Errorf("a second later: %v", err)
	}
	for i := range 40 { // one customer's network
		if err := call(fmt.Sprintf("2001:db8::%x", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := call("2001:db8::ffff"); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("the same /64: %v", err)
	}
	if err := call(""); err != nil {
		t.Errorf("from nowhere: %v", err)
	}
}

// TestAnonymousOpen shows that an address cannot hold all places.
func TestAnonymousOpen(t *testing.T) {
	t.Parallel()
	a := newAnonymous(1000)
	var leave func()
	for range maxAnonymousFrom {
		var err error
		if leave, err = a.enter("192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.enter("192.0.2.1"); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more: %v", err)
	}
	leave()
	if _, err := a.enter("192.0.2.1"); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}

func TestTrust(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	x := newTrust(time.Minute)
	x.now = func() time.Time { return now }
	for _, step := range []struct {
		do     func()
		after  time.Duration
		closed bool
	}{
		{func() {}, time.Hour, false},
		{x.lose, time.Minute, false},
		{x.lose, time.Second, true}, // still the first loss
		{x.found, time.Hour, false},
		{x.lose, time.Minute, false},
	} {
		step.do()
		now = now.Add(step.after)
		if err := x.check(); (err != nil) != step.closed || err != nil && errors.Code(err) != codes.Unavailable {
			t.Errorf("at %s: %v, want closed %v", now, err, step.closed)
		}
	}
}

// TestStrangersLeaveRoom shows that callers without an account cannot take all
// places of a namespace.
func TestStrangersLeaveRoom(t *testing.T) {
	t.Parallel()
	f := newInFlight(4)
	for range 2 {
		if _, err := f.enter("acme", true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.enter("acme", true); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("a third stranger: %v", err)
	}
	leave, err := f.enter("acme", false)
	if err != nil {
		t.Errorf("a member: %v", err)
	}
	leave()
	leave() // twice is once
	for range 2 {
		if _, err := f.enter("acme", false); err != nil {
			t.Errorf("a member: %v", err)
		}
	}
	if _, err := f.enter("acme", false); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("one too many: %v", err)
	}
}
