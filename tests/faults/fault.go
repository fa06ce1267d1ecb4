package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/micro/platform/tests/platform"
)

// minKills is how many a trial has, however short. The others are bounds of the
// time between two kills, and of being away.
const (
	minKills = 3
	minCalm  = 200 * time.Millisecond
	maxCalm  = time.Second
	maxAway  = 200 * time.Millisecond
)

// Victim can be killed and started again.
type Victim struct {
	Name string
	// Kill ends it by SIGKILL and comes back when it is gone.
	Kill func() error
	// Restore starts it and comes back when it serves.
	Restore func(ctx context.Context) error
}

// Torment kills one of the victims after the other, at random, for a time, and
// at least minKills. It answers how often it killed whom. All are back when it
// returns.
func Torment(ctx context.Context, random *rand.Rand, lasts time.Duration, victims []Victim) (map[string]int, error) {
	kills := map[string]int{}
	end := time.Now().Add(lasts)
	for n := 0; n < minKills || time.Now().Before(end); n++ {
		calm := minCalm + time.Duration(random.Int64N(int64(maxCalm-minCalm)))
		v := victims[random.IntN(len(victims))]
		away := time.Duration(random.Int64N(int64(maxAway)))
		if !platform.Until(ctx, time.Now().Add(calm)) {
			return kills, ctx.Err()
		}
		if err := v.Kill(); err != nil {
			return kills, fmt.Errorf("kill %s: %w", v.Name, err)
		}
		kills[v.Name]++
		platform.Until(ctx, time.Now().Add(away))
		if err := v.Restore(ctx); err != nil {
			return kills, fmt.Errorf("start %s again: %w", v.Name, err)
		}
	}
	return kills, nil
}
