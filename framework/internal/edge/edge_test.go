package edge

import "testing"

func TestTarget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		address, target string
		secure          bool
	}{
		{"edge.example.com", "edge.example.com:443", true},
		{"edge.example.com:443", "edge.example.com:443", true},
		{"127.0.0.1:8081", "127.0.0.1:8081", false},
		{"edge.example.com:8443", "edge.example.com:8443", false},
		{"::1", "[::1]:443", true},
		{"[::1]:8081", "[::1]:8081", false},
	} {
		if target, secure := Target(tt.address); target != tt.target || secure != tt.secure {
			t.Errorf("Target(%q) = %q, %v, want %q, %v", tt.address, target, secure, tt.target, tt.secure)
		}
	}
}
