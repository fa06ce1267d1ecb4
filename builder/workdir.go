package builder

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

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
