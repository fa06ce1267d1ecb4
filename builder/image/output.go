package image

import (
	"io"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/micro/platform/framework/errors"
)

func isGone(err error) bool  { return errdefs.IsNotFound(err) }
func isInUse(err error) bool { return errdefs.IsConflict(err) }

const (
	reasonLines = 50
	reasonBytes = 4 << 10
)

// compilerReason is the end of what the compiler said, without what it says of
// its progress.
func compilerReason(said string) string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(said), "\n") {
		if !strings.HasPrefix(line, "go: downloading ") {
			lines = append(lines, strings.ReplaceAll(line, "/src/", ""))
		}
	}
	lines = lines[max(0, len(lines)-reasonLines):]
	for len(lines) > 1 && size(lines) > reasonBytes {
		lines = lines[1:]
	}
	text := strings.ToValidUTF8(strings.TrimSpace(strings.Join(lines, "\n")), "?")
	return text[:min(len(text), reasonBytes)]
}

func size(lines []string) int {
	n := 0
	for _, l := range lines {
		n += len(l) + 1
	}
	return n
}

// bounded refuses more than a program may have.
type bounded struct {
	w    io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.NewHTTP(422, "the program is larger than %d MiB", maxProgram>>20)
	}
	return b.w.Write(p)
}

// tail keeps the end of what is written to it.
type tail struct {
	max int
	b   []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 2*t.max {
		t.b = slices.Clone(t.b[len(t.b)-t.max:])
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.b[max(0, len(t.b)-t.max):]) }
