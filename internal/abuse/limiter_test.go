package abuse

import (
	"crypto/rand"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/redistest"
)

func TestSource(t *testing.T) {
	t.Parallel()
	for source, want := range map[string][2]string{
		"203.0.113.7":        {"203.0.113.7/32", "203.0.113.0/24"},
		"::ffff:203.0.113.7": {"203.0.113.7/32", "203.0.113.0/24"},
		"2001:db8:1:2:3::4":  {"2001:db8:1:2::/64", "2001:db8:1::/48"},
		"fe80::1%eth0":       {"fe80::/64", "fe80::/48"},
		"":                   {}, "127.0.0.1": {}, "::1": {}, "::ffff:127.0.0.1": {}, "nonsense": {},
	} {
		address, network, ok := Source(source)
		if got := [2]string{address, network}; got != want || ok != (want[0] != "") {
			t.Errorf("Source(%q) = %q, %v; want %q", source, got, ok, want)
		}
	}
}

// TestTake shows that what is refused counts against none of the limits.
func TestTake(t *testing.T) {
	t.Parallel()
	l := New(redistest.New(t), "test", []byte(rand.Text()))
	wide := Limit{Kind: "wide", Subject: "all", Times: 3, Within: time.Minute, Reason: "too many"}
	narrow := Limit{Kind: "narrow", Subject: "one", Times: 1, Within: time.Minute, Reason: "too soon"}
	take := func(all ...Limit) codes.Code { return errors.Code(l.Take(t.Context(), all)) }
	if got := take(wide, narrow); got != codes.OK {
		t.Fatalf("the first: %v", got)
	}
	for range 5 {
		if got := take(wide, narrow); got != codes.ResourceExhausted {
			t.Errorf("over the narrow one: %v", got)
		}
	}
	for i, want := range []codes.Code{codes.OK, codes.OK, codes.ResourceExhausted} {
		if got := take(wide); got != want {
			t.Errorf("the wide one, %d more: %v, want %v", i+1, got, want)
		}
	}
	if err := l.Forget(t.Context(), narrow); err != nil {
		t.Fatal(err)
	}
	if err := l.Forget(t.Context(), wide); err != nil || take(wide, narrow) != codes.OK {
		t.Errorf("after it was forgotten: %v", err)
	}
}
