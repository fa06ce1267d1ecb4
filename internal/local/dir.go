package local

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// format is the layout of the data directory. Raise it when an older server
// could not read what a newer one wrote.
const format = "1"

// secretFile has the cluster secret.
const secretFile = "cluster-secret"

// idFile has the cluster's id, which stays when the secret is exchanged.
const idFile = "cluster-id"

// bucketDir has the blobs.
const bucketDir = "bucket"

// dataDir is an open data directory, locked for this process.
type dataDir struct {
	path  string
	fresh bool // it was made just now
	lock  *os.File
}

// openDir opens or makes the data directory.
func openDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another micro server uses %s: stop it, or name another directory with --data-dir", path)
	}
	d := &dataDir{path: path, lock: lock}
	if err := errors.Join(lock.Truncate(0), writePID(lock)); err != nil {
		d.close()
		return nil, err
	}
	if err := d.checkFormat(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// writePID tells `micro shutdown` whose the directory is.
func writePID(lock *os.File) error {
	_, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func (d *dataDir) checkFormat() error {
	file := filepath.Join(d.path, "format")
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		d.fresh = true
		return os.WriteFile(file, []byte(format+"\n"), 0o600)
	case err != nil:
		return err
	case strings.TrimSpace(string(b)) != format:
		return fmt.Errorf("the data directory %s belongs to another version of micro: it has format %q, this version reads %q. Start the version that made it, or name another directory with --data-dir", d.path, strings.TrimSpace(string(b)), format)
	}
	return nil
}

// secret reads the secret of that name, and makes it up the first time.
func (d *dataDir) secret(name string) (string, error) {
	return d.kept(name, func() string {
		random := make([]byte, 32)
		rand.Read(random)
		return hex.EncodeToString(random)
	})
}

// kept reads a line of text, which is made when there is none.
func (d *dataDir) kept(name string, first func() string) (string, error) {
	file := filepath.Join(d.path, name)
	b, err := os.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	s := first()
	// Written beside and renamed: a crash leaves no half of it.
	if err := os.WriteFile(file+".new", []byte(s+"\n"), 0o600); err != nil {
		return "", err
	}
	return s, os.Rename(file+".new", file)
}

func (d *dataDir) has(name string) bool {
	_, err := os.Stat(filepath.Join(d.path, name))
	return err == nil
}

// close lets others have the directory. Closing alone would not always do it: a
// process that is being started has the file until it becomes another program.
func (d *dataDir) close() {
	syscall.Flock(int(d.lock.Fd()), syscall.LOCK_UN) //nolint:errcheck // closing it does the same, later
	d.lock.Close()
}
