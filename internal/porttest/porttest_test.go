package porttest

import (
	"fmt"
	"net"
	"testing"
)

func TestReserve(t *testing.T) {
	t.Parallel()
	port, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatalf("a reserved port is for its server: %v", err)
	}
	l.Close()
	if l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", shadow, port)); err == nil {
		l.Close()
		t.Fatalf("port %d can be reserved twice", port)
	}
}
