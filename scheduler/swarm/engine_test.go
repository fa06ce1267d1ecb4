package swarm

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestSteady: a change that finds no leader is made again, any other is not.
func TestSteady(t *testing.T) {
	t.Parallel()
	lost, other := errors.New("rpc error: code = Unknown desc = node lost leader status"), errors.New("invalid image")
	for _, tt := range []struct {
		name  string
		errs  []error // of one try after the other; then it is done
		want  error
		tries int
	}{
		{"done", nil, nil, 1},
		{"an election", []error{lost}, nil, 2},
		{"refused", []error{other}, other, 1},
		{"an election, then refused", []error{lost, other}, other, 2},
		{"no end of it", []error{lost, lost, lost, lost, lost, lost}, lost, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 4*electionPoll)
			defer cancel()
			tries := 0
			began := time.Now()
			err := steady(ctx, func() error {
				tries++
				if tries <= len(tt.errs) {
					return tt.errs[tries-1]
				}
				return nil
			})
			if !errors.Is(err, tt.want) || tt.tries > 0 && tries != tt.tries || time.Since(began) > 10*electionPoll {
				t.Errorf("%v after %d tries and %v, want %v after %d", err, tries, time.Since(began), tt.want, tt.tries)
			}
		})
	}
}
