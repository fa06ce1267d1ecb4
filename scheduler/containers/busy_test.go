package containers

import (
	"net/netip"
	"strings"
	"testing"
)

// TestCallsTo: what counts is a connection that is open, by where it goes.
func TestCallsTo(t *testing.T) {
	t.Parallel()
	const table = `  sl  local_address rem_address   st
   0: 00000000:1F92 00000000:0000 0A
   1: 0200C90A:C350 0300C90A:1F90 01
   2: 0200C90A:C351 0400C90A:1F90 06
   3: nonsense 0 01
`
	for address, want := range map[string]bool{"10.201.0.3": true, "10.201.0.4": false, "10.201.0.2": false} {
		got, err := callsTo(strings.NewReader(table), map[netip.Addr]bool{netip.MustParseAddr(address): true})
		if got != want || err != nil {
			t.Errorf("connected to %s: %v, %v", address, got, err)
		}
	}
}
