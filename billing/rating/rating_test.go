package rating

import (
	"math"
	"testing"

	"github.com/micro/platform/billing/plans"
)

var pro = plans.Price{Currency: "EUR", MillionRequests: 50, CPUHour: 4, MemoryGiBHour: 1, StoredGiBMonth: 25, EgressGiB: 9, BuildMinute: 1}

func TestCost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		used  Usage
		price plans.Price
		want  int64
	}{
		{"nothing", Usage{}, pro, 0},
		{"nothing costs", Usage{Calls: 1 << 40, EgressBytes: 1 << 50}, plans.Price{}, 0},
		{"a call", Usage{Calls: 1}, pro, 50},
		{"a million calls", Usage{Calls: 1_000_000}, pro, 50 * Millionths},
		{"a core for an hour", Usage{CPUMilliSeconds: 1000 * 3600}, pro, 4 * Millionths},
		{"a GiB of memory for an hour", Usage{MemoryMiBSeconds: 1024 * 3600}, pro, Millionths},
		{"a GiB for 30 days", Usage{StoredByteHours: 720 << 30}, pro, 25 * Millionths},
		{"a GiB sent", Usage{EgressBytes: 1 << 30}, pro, 9 * Millionths},
		{"a minute of building", Usage{BuildSeconds: 60}, pro, Millionths},
		{"parts of a millionth make one together", Usage{MemoryMiBSeconds: 2, EgressBytes: 90}, pro, 1},
		{"more than there is", Usage{StoredByteHours: math.MaxInt64, EgressBytes: math.MaxInt64}, plans.Price{EgressGiB: math.MaxInt64, StoredGiBMonth: math.MaxInt64}, math.MaxInt64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Cost(tt.used, tt.price); got != tt.want {
				t.Errorf("Cost = %d, want %d", got, tt.want)
			}
		})
	}
}
