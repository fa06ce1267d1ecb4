// Package terminal is how the command line talks to a person: questions,
// tables, dimmed lines, and text from elsewhere that cannot do any harm.
package terminal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"
)

// Terminal is the standard streams of a process, or what a test puts in place.
type Terminal struct {
	Out, Err io.Writer

	in    *os.File
	lines *bufio.Reader
}

// New makes a terminal of the standard streams.
func New(in, out, errOut *os.File) *Terminal {
	return &Terminal{Out: out, Err: errOut, in: in, lines: bufio.NewReader(in)}
}

// Interactive says whether a person can be asked.
func (t *Terminal) Interactive() bool { return term.IsTerminal(int(t.in.Fd())) }

// Live says whether somebody watches what w shows.
func Live(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// Ask asks for a line. The question goes to the error stream, so that a script
// can keep the answer of a command apart.
func (t *Terminal) Ask(ctx context.Context, question string) (string, error) {
	fmt.Fprint(t.Err, question)
	line, err := t.Line(ctx)
	if !t.Interactive() {
		fmt.Fprintln(t.Err)
	}
	return strings.TrimSpace(line), err
}

// AskSecret asks for a line that is not shown while it is typed.
func (t *Terminal) AskSecret(ctx context.Context, question string) (string, error) {
	if !t.Interactive() {
		fmt.Fprintln(t.Err, question)
		return t.Line(ctx)
	}
	fmt.Fprint(t.Err, question)
	fd := int(t.in.Fd())
	shown, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	secret, err := wait(ctx, func() (string, error) {
		b, err := term.ReadPassword(fd)
		return string(b), err
	})
	if ctx.Err() != nil {
		err = errors.Join(err, term.Restore(fd, shown)) // or what is typed later stays unseen
	}
	fmt.Fprintln(t.Err)
	return secret, err
}

// Line reads a line as it is, without a question.
func (t *Terminal) Line(ctx context.Context) (string, error) {
	return wait(ctx, func() (string, error) {
		line, err := t.lines.ReadString('\n')
		if err != nil && line == "" {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	})
}

// wait reads until ctx ends. Reading itself cannot be stopped; the process that
// was told to end does not wait for it.
func wait(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		text, err := read()
		done <- answer{text, err}
	}()
	select {
	case a := <-done:
		return a.text, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Dim makes text step back, where w can show it.
func Dim(w io.Writer, text string) string {
	if !Live(w) || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[2m" + text + "\x1b[0m"
}

// Inert makes text from elsewhere safe to show: control characters, which
// could move the cursor or change the terminal, become visible escapes. Tabs
// and line ends stay.
func Inert(s string) string {
	if !strings.ContainsFunc(s, harmful) && strings.ToValidUTF8(s, "") == s {
		return s
	}
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case !harmful(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func harmful(r rune) bool {
	switch {
	case r == '\t', r == '\n':
		return false
	case r < 0x20, r >= 0x7f && r <= 0x9f:
		return true
	default: // marks that turn the direction of writing hide what text says
		return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}
}

// OneLine is Inert without line ends and tabs, for a cell of a table.
func OneLine(s string) string {
	return Inert(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' }), " "))
}

// JSON prints v indented, as scripts like it.
func (t *Terminal) JSON(v any) error {
	e := json.NewEncoder(t.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Table prints rows in aligned columns.
func (t *Terminal) Table(rows [][]string) error {
	w := tabwriter.NewWriter(t.Out, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = OneLine(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}
