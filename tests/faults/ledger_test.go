package faults

import (
	"strings"
	"testing"
)

// TestLedger shows that the book finds what it is there to find.
func TestLedger(t *testing.T) {
	t.Parallel()
	l := NewLedger("x", true)
	for n := range 6 {
		l.Sent(ID{1, n})
	}
	for _, n := range []int{0, 1, 2, 3} {
		l.Acked(ID{1, n})
	}
	for _, id := range []ID{{1, 0}, {1, 2}, {1, 1}, {1, 1}, {1, 5}, {2, 9}} {
		l.Received(id)
	}
	got := l.Row()
	got.Pause = 0
	want := Row{Name: "x", Sent: 6, Acked: 4, Received: 6, Lost: 1, Doubled: 1, Ghosts: 1, Strangers: 1, Disorder: 1}
	if got != want {
		t.Errorf("Row = %+v, want %+v", got, want)
	}
	if wrong := got.Wrong(1); len(wrong) != 3 {
		t.Errorf("after a crash these are wrong: %q", wrong)
	}
	if wrong := got.Wrong(0); len(wrong) != 4 || !strings.Contains(wrong[3], "without a crash") {
		t.Errorf("without a crash these are wrong: %q", wrong)
	}
	if wrong := NewLedger("empty", false).Row().Wrong(0); len(wrong) != 1 {
		t.Errorf("of nothing these are wrong: %q", wrong)
	}
}

func TestParseID(t *testing.T) {
	t.Parallel()
	if id, err := ParseID(ID{3, 41}.String()); err != nil || id != (ID{3, 41}) {
		t.Errorf("ParseID = %v, %v", id, err)
	}
	for _, s := range []string{"", "1", "1-", "-1", "a-1", "1-b"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("ParseID(%q) = %v", s, id)
		}
	}
}
