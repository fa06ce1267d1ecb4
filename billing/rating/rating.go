package rating

import (
	"math"
	"math/big"

	"github.com/micro/platform/billing/plans"
)

// Usage is what was used.
type Usage struct {
	Calls            int64
	CPUMilliSeconds  int64 // thousandths of a core, for a second
	MemoryMiBSeconds int64
	StoredByteHours  int64
	EgressBytes      int64
	BuildSeconds     int64
}

// How much of what is counted a price is for.
const (
	million        = 1_000_000
	milliInHour    = 1000 * 3600
	mibInGiBHour   = 1024 * 3600
	byteHoursInGiB = 1 << 30 * 24 * 30 // a month has 30 days
	gib            = 1 << 30
	minute         = 60
)

// Millionths is the number of millionths in the smallest unit of a currency.
const Millionths = 1_000_000

// Cost answers what usage costs, in millionths of the smallest unit of the
// price's currency. Parts of a millionth are left out once, of the sum; more than
// an int64 holds is the largest one.
func Cost(u Usage, p plans.Price) int64 {
	sum := new(big.Rat)
	for _, x := range []struct{ used, price, per int64 }{
		{u.Calls, p.MillionRequests, million},
		{u.CPUMilliSeconds, p.CPUHour, milliInHour},
		{u.MemoryMiBSeconds, p.MemoryGiBHour, mibInGiBHour},
		{u.StoredByteHours, p.StoredGiBMonth, byteHoursInGiB},
		{u.EgressBytes, p.EgressGiB, gib},
		{u.BuildSeconds, p.BuildMinute, minute},
	} {
		if x.used == 0 || x.price == 0 {
			continue
		}
		part := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(x.used), big.NewInt(x.price)), big.NewInt(x.per))
		sum.Add(sum, part.Mul(part, big.NewRat(Millionths, 1)))
	}
	whole := new(big.Int).Quo(sum.Num(), sum.Denom())
	if !whole.IsInt64() {
		return math.MaxInt64
	}
	return whole.Int64()
}
