package store

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	storepb "github.com/micro/platform/proto/store"
)

// Bounds of what comes in that no plan changes.
const (
	maxKey      = 1 << 10 // bytes
	maxName     = 128     // bytes, of a table or a namespace
	maxMetadata = 64      // entries
	maxPair     = 1 << 10 // bytes of a key with its value
	maxLife     = 100 * 365 * 24 * time.Hour
	maxChanges  = 1000
)

// defaultTable is meant when a request names none.
const defaultTable = "micro"

func invalid(format string, args ...any) error {
	return errors.New(codes.InvalidArgument, format, args...)
}

// cleanTable answers the table that a request means.
func cleanTable(name string) (string, error) {
	if name == "" {
		return defaultTable, nil
	}
	return name, checkName("table", name)
}

func checkName(what, name string) error {
	if len(name) == 0 || len(name) > maxName || !printable(name) {
		return invalid("%s %q: 1 to %d bytes of UTF-8 without control characters", what, errors.Clip(name), maxName)
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// checkKey checks a key that is written. Any text may be looked for.
func checkKey(key string) error {
	if len(key) == 0 || len(key) > maxKey {
		return invalid("key %q: 1 to %d bytes, got %d", errors.Clip(key), maxKey, len(key))
	}
	return checkText("key", key)
}

// checkText checks a key or a part of one.
func checkText(what, s string) error {
	if len(s) > maxKey {
		return invalid("%s %q: at most %d bytes, got %d", what, errors.Clip(s), maxKey, len(s))
	}
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return invalid("%s %q: UTF-8 without zero bytes", what, errors.Clip(s))
	}
	return nil
}

// life answers the milliseconds that a record lives, 0 for ever.
func life(r *storepb.Record) (int64, error) {
	if r.GetExpiry() < 0 || r.GetExpiryMs() < 0 {
		return 0, invalid("expiry of key %q is negative: it is the time to live", errors.Clip(r.GetKey()))
	}
	if r.GetExpiry() > int64(maxLife/time.Second) || r.GetExpiryMs() > maxLife.Milliseconds() {
		return 0, invalid("expiry of key %q is over 100 years: it is the time to live in seconds, expiry_ms in milliseconds", errors.Clip(r.GetKey()))
	}
	if r.GetExpiryMs() > 0 {
		return r.GetExpiryMs(), nil
	}
	return r.GetExpiry() * 1000, nil
}

// checkCondition answers the condition of a change as scripts have it.
func checkCondition(absent bool, version int64) (string, error) {
	switch {
	case version < 0:
		return "", invalid("if_version is %d: a version is above 0", version)
	case absent && version > 0:
		return "", invalid("if_absent and if_version exclude each other")
	case absent:
		return "absent", nil
	case version > 0:
		return strconv.FormatInt(version, 10), nil
	default:
		return "", nil
	}
}

// toWrite checks a record and answers the change that writes it.
func (l limits) toWrite(r *storepb.Record) (change, error) {
	c := change{key: r.GetKey()}
	if err := checkKey(c.key); err != nil {
		return c, err
	}
	if n := len(r.GetValue()); n > l.value {
		return c, errors.NewHTTP(413, "%s", plans.OverText(l.plan, "value_bytes", "larger ones are for the blob store", "value of key %q has %d bytes, and may have %d", errors.Clip(c.key), n, l.value))
	}
	if n := len(r.GetMetadata()); n > maxMetadata {
		return c, invalid("metadata of key %q: at most %d entries, got %d", errors.Clip(c.key), maxMetadata, n)
	}
	metadata := make(map[string]string, len(r.GetMetadata()))
	for k, f := range r.GetMetadata() {
		if len(k)+len(f.GetValue()) > maxPair {
			return c, invalid("metadata %q of key %q: name and value are at most %d bytes together", errors.Clip(k), errors.Clip(c.key), maxPair)
		}
		metadata[k] = f.GetValue()
	}
	var err error
	if c.life, err = life(r); err != nil {
		return c, err
	}
	c.flags, c.body, err = body(metadata, r.GetValue())
	return c, err
}

// toChange checks a change of a batch.
func (l limits) toChange(m *storepb.Change) (change, error) {
	if m.GetRecord() == nil {
		return change{}, invalid("a change without a record")
	}
	c := change{key: m.GetRecord().GetKey(), delete: true}
	var err error
	if m.GetDelete() {
		if m.GetIfAbsent() {
			return c, invalid("key %q: if_absent is for writes", errors.Clip(c.key))
		}
		err = checkKey(c.key)
	} else {
		c, err = l.toWrite(m.GetRecord())
	}
	if err != nil {
		return c, err
	}
	c.condition, err = checkCondition(m.GetIfAbsent(), m.GetIfVersion())
	return c, err
}
