package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNotRunning says that no server uses a data directory.
var ErrNotRunning = errors.New("no micro server runs")

// Shutdown tells the server that uses o's data directory to stop, and waits
// until it has.
func Shutdown(ctx context.Context, o Options) error {
	dir, err := o.Dir()
	if err != nil {
		return err
	}
	lock, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w with the data directory %s", ErrNotRunning, dir)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if free(lock) {
		return fmt.Errorf("%w with the data directory %s", ErrNotRunning, dir)
	}
	b, err := os.ReadFile(lock.Name())
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("a micro server uses %s, and has not said which process it is: stop it by hand", dir)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop process %d: %w", pid, err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !free(lock) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d was told to stop and still runs: %w", pid, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// free says whether nobody holds the lock. It does not keep it.
func free(lock *os.File) bool {
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil {
		return false
	}
	syscall.Flock(int(lock.Fd()), syscall.LOCK_UN) //nolint:errcheck // closing it does the same
	return true
}
