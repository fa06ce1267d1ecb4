package dockerhost

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFiles: Docker's files are found as its own process sees them.
func TestFiles(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root sees another process's files")
	}
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	files, err := Files(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(files, Socket(c))); err != nil {
		t.Errorf("Docker's own socket: %v", err)
	}
}
