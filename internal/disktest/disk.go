// Package disktest makes small disks in memory that tests can fill.
package disktest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// size is that of a disk. It takes as much memory as it holds.
const size = 160 << 20

// Disk is a small disk, mounted at a folder.
type Disk string

// New mounts a disk at a folder, which there must be, until the test ends. Only
// root may.
func New(t testing.TB, dir string) Disk {
	t.Helper()
	if err := unix.Mount("micro-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", size)); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() { // from who still uses it, too
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return Disk(dir)
}

func (d Disk) ballast() string { return filepath.Join(string(d), ".ballast") }

// Fill leaves no room on the disk.
func (d Disk) Fill() error {
	f, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	defer f.Close()
	for at, piece := int64(0), int64(1<<20); piece >= int64(os.Getpagesize()); {
		switch err := unix.Fallocate(int(f.Fd()), 0, at, piece); {
		case err == nil:
			at += piece
		case errors.Is(err, unix.ENOSPC):
			piece /= 2
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
	return nil
}

// Free takes away what Fill has put there.
func (d Disk) Free() error { return os.Remove(d.ballast()) }
