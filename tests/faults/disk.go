package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// diskSize is that of a small disk. It takes as much memory as it holds.
const diskSize = 160 << 20

// Disk is a small disk in memory, mounted at a folder.
type Disk string

// NewDisk mounts a disk at a folder, which it makes.
func NewDisk(dir string) (Disk, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if err := unix.Mount("micro-faults", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", diskSize)); err != nil {
		return "", fmt.Errorf("mount a small disk: %w", err)
	}
	return Disk(dir), nil
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

// Unmount takes the disk away, from who still uses it, too.
func (d Disk) Unmount() error { return unix.Unmount(string(d), unix.MNT_DETACH) }
