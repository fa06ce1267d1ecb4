package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/micro/platform/framework/errors"
)

// Dir answers ~/.micro.
func Dir() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("where to keep settings: %w (set HOME)", err)
	}
	return filepath.Join(home, ".micro"), nil
}

// File is a config.json.
type File struct{ path string }

// Open names the file; nothing is read yet.
func Open(path string) *File { return &File{path} }

// Values are the settings: texts, by dotted paths into nested objects.
type Values map[string]any

// Read answers all settings. A file that does not exist has none.
func (f *File) Read() (Values, error) {
	b, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Values{}, nil
	}
	if err != nil {
		return nil, err
	}
	v := Values{}
	if len(bytes.TrimSpace(b)) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("%s is not valid JSON (%w): repair it, or move it away and log in again", f.path, err)
	}
	return v, nil
}

// Update changes settings while no other process does.
func (f *File) Update(change func(Values) error) error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	unlock, err := lockedfile.MutexAt(f.path + ".lock").Lock()
	if err != nil {
		return err
	}
	defer unlock()
	v, err := f.Read()
	if err != nil {
		return err
	}
	if err := change(v); err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return replace(f.path, b)
}

// Get answers a setting, or "".
func (v Values) Get(key string) string {
	var at any = map[string]any(v)
	for _, part := range strings.Split(key, ".") {
		object, ok := at.(map[string]any)
		if !ok {
			return ""
		}
		at = object[part]
	}
	s, _ := at.(string)
	return s
}

// Set changes a setting.
func (v Values) Set(key, value string) error {
	parts := strings.Split(key, ".")
	at := map[string]any(v)
	for i, part := range parts {
		if part == "" {
			return fmt.Errorf("%q is not a setting: write words with a dot between two", key)
		}
		if i == len(parts)-1 {
			if _, ok := at[part].(map[string]any); ok {
				return fmt.Errorf("%q holds other settings, it has no value of its own", key)
			}
			at[part] = value
			return nil
		}
		if at[part] == nil {
			at[part] = map[string]any{}
		}
		object, ok := at[part].(map[string]any)
		if !ok {
			return fmt.Errorf("%q is a value, so there is no %q", strings.Join(parts[:i+1], "."), key)
		}
		at = object
	}
	return nil
}

// replace writes a file that only its owner reads, in one step: a crash leaves
// the old one or the new one.
func replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
