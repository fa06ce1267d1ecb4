package swarm

import (
	"net/netip"
	"testing"
)

func TestFreeSubnet(t *testing.T) {
	t.Parallel()
	pool := netip.MustParsePrefix("10.9.0.0/24")
	var used []netip.Prefix
	for range 4 {
		p, err := freeSubnet(pool, "a", used)
		if err != nil || !pool.Overlaps(p) || overlaps(p, used) {
			t.Fatalf("%v, %v beside %v", p, err, used)
		}
		used = append(used, p)
	}
	if p, err := freeSubnet(pool, "a", used); err == nil {
		t.Errorf("a fifth of four: %v", p)
	}
}
