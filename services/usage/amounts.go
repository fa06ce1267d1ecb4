package usage

import (
	"cmp"
	"maps"
	"slices"
	"time"

	usagepb "github.com/micro/platform/proto/usage"
)

// key names a row of figures.
type key struct {
	Namespace string
	Day       time.Time
	Service   string
	Endpoint  string
	Account   string
	Class     string
}

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.Namespace, o.Namespace), k.Day.Compare(o.Day), cmp.Compare(k.Service, o.Service),
		cmp.Compare(k.Endpoint, o.Endpoint), cmp.Compare(k.Account, o.Account), cmp.Compare(k.Class, o.Class))
}

// amounts are the figures of a row. usage.proto says their units.
type amounts struct {
	Calls            int64
	Refused          int64
	BytesIn          int64
	BytesOut         int64
	CPUMilliSeconds  int64
	MemoryMiBSeconds int64
	EgressBytes      int64
	StoredByteHours  int64
	BuildSeconds     int64
}

func (a *amounts) add(b amounts) {
	a.Calls += b.Calls
	a.Refused += b.Refused
	a.BytesIn += b.BytesIn
	a.BytesOut += b.BytesOut
	a.CPUMilliSeconds += b.CPUMilliSeconds
	a.MemoryMiBSeconds += b.MemoryMiBSeconds
	a.EgressBytes += b.EgressBytes
	a.StoredByteHours += b.StoredByteHours
	a.BuildSeconds += b.BuildSeconds
}

// row is a key with its figures.
type row struct {
	key
	amounts
}

func (r row) proto() *usagepb.Row {
	out := &usagepb.Row{
		Service: r.Service, Endpoint: r.Endpoint, Member: r.Account, Class: r.Class,
		Calls: r.Calls, Refused: r.Refused, BytesIn: r.BytesIn, BytesOut: r.BytesOut,
		CpuMilliSeconds: r.CPUMilliSeconds, MemoryMibSeconds: r.MemoryMiBSeconds, EgressBytes: r.EgressBytes,
		StoredByteHours: r.StoredByteHours, BuildSeconds: r.BuildSeconds,
	}
	if !r.Day.IsZero() {
		out.Day = day(r.Day)
	}
	return out
}

// tally is what is to be added to the figures.
type tally map[key]*amounts

func (t tally) add(k key, a amounts) {
	if t[k] == nil {
		t[k] = &amounts{}
	}
	t[k].add(a)
}

// months answers the sums by month and service; the day of their keys is the
// first of the month.
func (t tally) months() tally {
	out := tally{}
	for k, a := range t {
		first := time.Date(k.Day.Year(), k.Day.Month(), 1, 0, 0, 0, 0, time.UTC)
		out.add(key{Namespace: k.Namespace, Day: first, Service: k.Service}, *a)
	}
	return out
}

// rows answers what there is to add in the order of the keys: transactions that
// change the same rows take them in the same order.
func (t tally) rows() []row {
	out := make([]row, 0, len(t))
	for _, k := range slices.SortedFunc(maps.Keys(t), key.compare) {
		out = append(out, row{k, *t[k]})
	}
	return out
}
