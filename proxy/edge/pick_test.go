package edge

import "testing"

// TestPick: calls go to the less loaded of two nodes taken at random.
func TestPick(t *testing.T) {
	t.Parallel()
	const picks = 10_000
	nodes := []*node{{id: "a"}, {id: "b"}, {id: "c"}, {id: "d"}}
	for i, n := range nodes {
		n.load.Store(int64(i))
	}
	s := &service{nodes: nodes}
	got := map[*node]int{}
	for range picks {
		got[s.pick()]++
	}
	// Of the six pairs the lightest is in three, the next is the lighter one of two,
	// the third of one. The chance of 5 % off is below one in a million.
	for i, want := range []int{picks / 2, picks / 3, picks / 6, 0} {
		if n := got[nodes[i]]; n < want-picks/20 || n > want+picks/20 || want == 0 && n > 0 {
			t.Errorf("node %d of load %d was picked %d times of %d, want about %d", i, i, n, picks, want)
		}
	}
	if n := s.pick(nodes[0], nodes[1], nodes[2]); n != nodes[3] {
		t.Errorf("%v was picked, and all others were tried", n)
	}
	if n := s.pick(nodes...); n != nil {
		t.Errorf("%v was picked, and all were tried", n)
	}
}
