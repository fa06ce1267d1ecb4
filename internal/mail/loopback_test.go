package mail

import "testing"

// TestNoPlainTextBeyondLoopback shows that a server elsewhere must speak TLS
// before it gets anything.
func TestNoPlainTextBeyondLoopback(t *testing.T) {
	t.Parallel()
	if loopback("smtp.example.com") || loopback("10.0.0.1") || !loopback("127.0.0.1") || !loopback("::1") {
		t.Error("loopback is told wrong")
	}
}
