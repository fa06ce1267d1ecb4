package builder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// workDir makes a directory for this process, and removes those of processes
// that are gone.
func workDir(parent string) (dir string, release func(), err error) {
	if parent == "" {
		parent = filepath.Join(os.TempDir(), fmt.Sprintf("micro-builder-%d", os.Geteuid()))
	}
	// Docker and git, which are other users, must get through; names inside are
	// not to be guessed.
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return "", nil, err
	}
	// In a directory for all, another user may have been here first.
	if info, err := os.Lstat(parent); err != nil || !ownedByUs(info) {
		return "", nil, fmt.Errorf("%s is not a directory of this user (%w)", parent, errors.Join(err, os.ErrPermission))
	}
	if err := removeAbandoned(parent); err != nil {
		return "", nil, err
	}
	if dir, err = os.MkdirTemp(parent, "server-"); err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", nil, err
	}
	unlock, err := lock(dir)
	if err != nil {
		return "", nil, err
	}
	return dir, func() {
		os.RemoveAll(dir) //nolint:errcheck // the next start tries again
		unlock()
		os.Remove(parent) //nolint:errcheck // another process may still have its own in there
	}, nil
}

// lock marks a directory as in use, for as long as this process lives. It
// fails when another process has it.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// removeAbandoned removes the directories whose process is gone.
func removeAbandoned(parent string) error {
	found, err := filepath.Glob(filepath.Join(parent, "server-*"))
	if err != nil {
		return err
	}
	for _, dir := range found {
		unlock, err := lock(dir)
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = os.RemoveAll(dir)
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func ownedByUs(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.IsDir() && int(stat.Uid) == os.Geteuid()
}
