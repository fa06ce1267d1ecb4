package edge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

func TestAnonymous(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	a := newAnonymous(2) // 40 at once
	a.address.now = func() time.Time { return now }
	a.network.now = a.address.now
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

// TestAnonymousOpen shows that neither an address nor its network, nor one of
// IPv6, can hold all places.
func TestAnonymousOpen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, others string // an address on others' pattern, and one elsewhere
		places       int
		elsewhere    string
	}{
		{"an address", "192.0.2.1", maxFromAddress, "192.0.2.2"},
		{"a network", "192.0.2.%d", maxFromNetwork, "198.51.100.1"},
		{"a /64", "2001:db8::%x", maxFromAddress, "2001:db8:0:1::1"},
		{"a /48", "2001:db8:0:%x::1", maxFromNetwork, "2001:db8:1::1"},
	} {
		a := newAnonymous(1000)
		from := func(i int) string {
			if strings.Contains(tt.others, "%") {
				return fmt.Sprintf(tt.others, i)
			}
			return tt.others
		}
		var leave func()
		for i := range tt.places {
			var err error
			if leave, err = a.enter(from(i % 256)); err != nil {
				t.Fatalf("%s: place %d: %v", tt.name, i, err)
			}
		}
		if _, err := a.enter(from(0)); errors.Code(err) != codes.ResourceExhausted {
			t.Errorf("%s: one more: %v", tt.name, err)
		}
		if _, err := a.enter(tt.elsewhere); err != nil {
			t.Errorf("%s: from elsewhere: %v", tt.name, err)
		}
		leave()
		leave() // twice is once
		if _, err := a.enter(from(tt.places - 1)); err != nil {
			t.Errorf("%s: after one has ended: %v", tt.name, err)
		}
	}
}

// TestPlacesAreForgotten shows that places take memory while they are taken only.
func TestPlacesAreForgotten(t *testing.T) {
	t.Parallel()
	p := NewPlaces(0)
	var all []func()
	for i := range 256 {
		leave, err := p.Enter(fmt.Sprintf("198.51.%d.1", i))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, leave)
	}
	for _, leave := range all {
		leave()
	}
	if len(p.open) != 0 {
		t.Errorf("%d networks are remembered", len(p.open))
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
		{func() { x.found() }, time.Hour, false},
		{x.lose, time.Minute, false},
	} {
		step.do()
		now = now.Add(step.after)
		if err := x.check(); (err != nil) != step.closed || err != nil && errors.Code(err) != codes.Unavailable {
			t.Errorf("at %s: %v, want closed %v", now, err, step.closed)
		}
	}
}

// TestAnonymousLeaveRoom shows that callers without an account cannot take all
// places of a namespace.
func TestAnonymousLeaveRoom(t *testing.T) {
	t.Parallel()
	f := NewShares(4, 0)
	for range 2 {
		if _, err := f.Enter("acme", true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Enter("acme", true); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("a third one without: %v", err)
	}
	leave, err := f.Enter("acme", false)
	if err != nil {
		t.Errorf("a member: %v", err)
	}
	leave()
	leave() // twice is once
	for range 2 {
		if _, err := f.Enter("acme", false); err != nil {
			t.Errorf("a member: %v", err)
		}
	}
	if _, err := f.Enter("acme", false); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("one too many: %v", err)
	}
}
