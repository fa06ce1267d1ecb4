package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/micro/platform/tests/platform"
)

// imageSize is what the data of a server may grow to. The file is sparse.
const imageSize = 2 << 30

// Image is a disk: a file with a file system in it. A process mounts it in a
// mount namespace of its own, so that the kernel unmounts it and gives the loop
// device back when the process and its children are gone, however they end.
type Image string

// NewImage makes an empty disk.
func NewImage(ctx context.Context, path string) (Image, error) {
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	if err := errors.Join(f.Truncate(imageSize), f.Close()); err != nil {
		return "", err
	}
	return Image(path), command(ctx, "mkfs.ext4", "-q", "-m0", path)
}

// Copy makes another disk of what the kernel has written to this one: what a
// disk has after a loss of power.
func (i Image) Copy(ctx context.Context, path string) (Image, error) {
	return Image(path), command(ctx, "cp", "--sparse=always", string(i), path)
}

// Mount makes a command see the disk at dir.
func (i Image) Mount(dir string) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		const script = `mount -o loop "$1" "$2" && shift 2 && exec "$@"`
		cmd.Args = append([]string{"sh", "-c", script, "sh", string(i), dir, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
}

// releaseTimeout is how long the kernel gets to write out and unmount.
const releaseTimeout = 20 * time.Second

// Released waits until nobody uses the disk any more.
func (i Image) Released(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	for {
		out, err := exec.CommandContext(ctx, "losetup", "--associated", string(i)).CombinedOutput()
		if err == nil && len(out) == 0 {
			return nil
		}
		if !platform.Until(ctx, time.Now().Add(tryAgain)) {
			return fmt.Errorf("disk %s is still in use: %s (%v)", i, out, err)
		}
	}
}

// mountable says why this machine cannot mount images.
func mountable(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("only root may mount the disk whose power is cut")
	}
	if err := command(ctx, "losetup", "--find"); err != nil {
		return fmt.Errorf("there is no loop device: %w", err)
	}
	return command(ctx, "unshare", "--mount", "true")
}

func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
