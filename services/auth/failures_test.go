package auth

import "testing"

// TestNetwork shows that one person is counted as one, however the address is
// written.
func TestNetwork(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"192.0.2.1", "::ffff:192.0.2.1"},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2::1%eth0"},
		{"nowhere"},
	} {
		for _, address := range same {
			if got, want := network(address), network(same[0]); got != want {
				t.Errorf("%s is %s, %s is %s", address, got, same[0], want)
			}
		}
	}
	if network("192.0.2.1") == network("192.0.2.2") || network("2001:db8:1:2::1") == network("2001:db8:1:3::1") {
		t.Error("two networks are one")
	}
}
