package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	authpb "github.com/micro/platform/proto/auth"
)

// TestClockIsOff shows which process gets no calls: the one whose clock is not that
// of most others, and not all when it is Postgres' that is off.
func TestClockIsOff(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name     string
		postgres time.Duration // by how much the clock here is ahead
		others   []time.Duration
		want     string
		skew     time.Duration
	}{
		{"all agree", 0, []time.Duration{0, time.Second}, "", 0},
		{"within the leeway", time.Minute, []time.Duration{time.Minute, time.Minute}, "", time.Minute},
		{"beyond it", -61 * time.Second, []time.Duration{-61 * time.Second}, "1m1s behind 2 of the 2 that", -61 * time.Second},
		{"a day ahead", day, []time.Duration{day, day, 0}, "24h0m0s ahead of 3 of the 4 that", day},
		{"Postgres' is off", -day, []time.Duration{0}, "", -day},
		{"Postgres' is off, and one more", -day, []time.Duration{day, 0, 0}, "", -day},
		{"half of them", day, []time.Duration{day, 0, 0}, "", day},
		{"only Postgres", day, nil, "", day},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, now := newClocks(), time.Now()
			c.note(database, now, now.Add(-tt.postgres))
			for i, d := range tt.others {
				c.note(fmt.Sprint("10.0.0.", i), now, now.Add(-d))
			}
			if err := c.off(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("off = %v, want %q", err, tt.want)
			}
			if got, err := c.skew(t.Context()); err != nil || (time.Duration(got*float64(time.Second))-tt.skew).Abs() > time.Second {
				t.Errorf("skew = %v, %v, want %v", got, err, tt.skew)
			}
		})
	}
}

// TestSilentClocksDoNotCount shows that who has not told the time for long is left
// out, and that an edge, which has no Postgres, takes that of most others.
func TestSilentClocksDoNotCount(t *testing.T) {
	t.Parallel()
	c, now := newClocks(), time.Now()
	if _, err := c.skew(t.Context()); err == nil {
		t.Error("there is a skew to nobody")
	}
	for i, d := range []time.Duration{0, -time.Hour, -time.Hour} {
		c.note(fmt.Sprint("10.0.0.", i), now, now.Add(d))
	}
	if got, err := c.skew(t.Context()); err != nil || got < 3599 || got > 3601 || c.off() == nil {
		t.Errorf("skew = %v, %v, off = %v", got, err, c.off())
	}
	for who, x := range c.others {
		x.at = x.at.Add(-heardFor)
		c.others[who] = x
	}
	if err := c.off(); err != nil || len(c.others) != 0 {
		t.Errorf("after %v: %v", heardFor, err)
	}
}

// TestTokenOfAnotherClock shows that a component keeps a token by its life, and
// that of an auth whose clock is another for a moment only.
func TestTokenOfAnotherClock(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for ahead, want := range map[time.Duration]time.Duration{
		0: 45 * time.Minute, time.Minute: 45 * time.Minute, -time.Minute: 45 * time.Minute,
		5 * time.Minute: doubted, -5 * time.Minute: doubted, 24 * time.Hour: doubted, -24 * time.Hour: doubted,
	} {
		issued := now.Add(ahead)
		if got := keep(&authpb.Token{Created: issued.Unix(), Expiry: issued.Add(time.Hour).Unix()}, now); got != want {
			t.Errorf("auth %v ahead: kept for %v, want %v", ahead, got, want)
		}
	}
}
