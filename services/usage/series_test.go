package usage

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/micro/platform/internal/meter"
	usagepb "github.com/micro/platform/proto/usage"
)

func rowsOf(t *testing.T, s *Service, day string) (n int) {
	t.Helper()
	if err := s.db.pool.QueryRow(t.Context(), "SELECT count(*) FROM usage.days WHERE namespace = 'acme' AND day = $1", day).Scan(&n); err != nil {
		t.Fatal(err)
	}
	var known int
	if err := s.db.pool.QueryRow(t.Context(), "SELECT rows FROM usage.series WHERE namespace = 'acme' AND day = $1", day).Scan(&known); err != nil {
		t.Fatal(err)
	}
	if known != n {
		t.Errorf("%d rows, and %d are known", n, known)
	}
	return n
}

// TestSeries shows that a namespace has so many rows a day and no more, that
// those it has go on counting, and that no call is missing.
func TestSeries(t *testing.T) {
	t.Parallel()
	s := setup(t)
	send := func(from, to int) {
		var records []meter.Record
		for i := from; i < to; i++ {
			r := call(today, "greeter", meter.OK)
			r.Account = fmt.Sprintf("member-%d", i)
			records = append(records, r)
		}
		appendTo(t, s, newEdge(t).batch(records...))
	}
	send(0, 600)
	send(500, 1500)
	send(0, 10)
	if n := rowsOf(t, s, "2026-11-21"); n != maxSeries+1 {
		t.Errorf("%d rows, want %d and one for all others", n, maxSeries)
	}
	rsp, err := s.Read(as(t, "acme"), &usagepb.ReadRequest{By: []string{"member"}})
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]int64{}
	for _, r := range rsp.GetRows() {
		calls[r.GetMember()] = r.GetCalls()
	}
	if rsp.GetTotal().GetCalls() != 1610 || calls[other] != 500 || calls["member-3"] != 2 || calls["member-550"] != 2 {
		t.Errorf("in all %d, others %d, members %d and %d", rsp.GetTotal().GetCalls(), calls[other], calls["member-3"], calls["member-550"])
	}
}

// TestRetain shows that old days have one row for each service and class, that
// what comes late is in it, and that a day which is too old is gone.
func TestRetain(t *testing.T) {
	t.Parallel()
	s := setup(t)
	old, recent := today.AddDate(0, 0, -91), today.AddDate(0, 0, -90)
	send := func() {
		var records []meter.Record
		for i := range 5 {
			for _, at := range []int{0, 1} {
				r := call([]meter.Record{{At: old}, {At: recent}}[at].At, "greeter", meter.OK)
				r.Account = fmt.Sprintf("member-%d", i)
				records = append(records, r)
			}
		}
		appendTo(t, s, newEdge(t).batch(records...))
	}
	retained := func(rows int) {
		t.Helper()
		before := total(t, s)
		if err := s.retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, total(t, s), protocmp.Transform()); diff != "" {
			t.Errorf("the sum is another one: %s", diff)
		}
		if n := rowsOf(t, s, day(old)); n != rows {
			t.Errorf("%d rows of the old day, want %d", n, rows)
		}
		if n := rowsOf(t, s, day(recent)); n != 5 {
			t.Errorf("%d rows of the recent day, want 5", n)
		}
	}
	send()
	retained(1)
	send()
	retained(1)
	s.opts.KeepDays = 90
	if err := s.retain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := total(t, s).GetCalls(); got != 10 {
		t.Errorf("%d calls when the old day is gone, want 10", got)
	}
}
