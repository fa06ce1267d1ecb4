package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/cli/terminal"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// passphrase is that of an archive. It never stands in the arguments, which
// other users of the machine may see.
type passphrase struct {
	wanted bool
	file   string
}

func (p *passphrase) flags(cmd *cobra.Command, usage string) {
	cmd.Flags().BoolVar(&p.wanted, "secrets", false, usage)
	cmd.Flags().StringVar(&p.file, "passphrase-file", "", "`file` whose first line is the passphrase of the secrets, instead of a question or MICRO_PASSPHRASE")
}

// get answers the passphrase, "" if no secrets are wanted.
func (p *passphrase) get(ctx context.Context, c *cli, twice bool) (string, error) {
	if !p.wanted {
		if p.file != "" {
			return "", usage("--passphrase-file is for --secrets")
		}
		return "", nil
	}
	if p.file != "" {
		b, err := os.ReadFile(p.file)
		if err != nil {
			return "", usage("%v", err)
		}
		line, _, _ := strings.Cut(string(b), "\n")
		return nonEmpty(strings.TrimSuffix(line, "\r"))
	}
	if given := os.Getenv("MICRO_PASSPHRASE"); given != "" {
		return given, nil
	}
	return c.askPassphrase(ctx, "Passphrase of the archive's secrets: ", twice)
}

// askPassphrase asks for a passphrase, a new one twice.
func (c *cli) askPassphrase(ctx context.Context, question string, twice bool) (string, error) {
	first, err := c.AskSecret(ctx, question)
	if err != nil || !twice {
		return first, err
	}
	second, err := c.AskSecret(ctx, "The same again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", usage("the passphrases differ")
	}
	return nonEmpty(first)
}

func nonEmpty(text string) (string, error) {
	if text == "" {
		return "", usage("the passphrase is empty")
	}
	return text, nil
}

func exportNamespaceCommand(c *cli) *cobra.Command {
	var out string
	var p passphrase
	cmd := &cobra.Command{
		Use: "export [NAME]", Short: "Write all that a namespace has to one file", Args: atMost(1),
		Long: `Writes services with their sources, config, records, blobs, events, rules, members,
usage and the audit log of a namespace to one file, which "micro namespace import"
reads, and tar and jq too: docs/leaving.md. Secrets are left out, unless --secrets
seals them with a passphrase.`,
		Example: "  micro namespace export -o acme.tar.gz\n  micro namespace export acme -o - | ssh backup 'cat > acme.tar.gz'",
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			if out == "" {
				return usage("-o is needed: a file, or - for the output")
			}
			secret, err := p.get(ctx, c, true)
			if err != nil {
				return err
			}
			req := &namespacespb.ExportRequest{Namespace: cmp.Or(strings.Join(args, ""), x.Namespace), Passphrase: secret}
			if out == "-" {
				return c.exportNamespace(ctx, x, req, c.Out)
			}
			return wholeFile(out, func(w io.Writer) error { return c.exportNamespace(ctx, x, req, w) })
		}),
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "`file` to write, or - for the output")
	p.flags(cmd, "take the secrets along, sealed with a passphrase")
	return cmd
}

// exportNamespace copies an export, and shows how it gets on.
func (c *cli) exportNamespace(ctx context.Context, x *client, req *namespacespb.ExportRequest, out io.Writer) error {
	x, done, err := c.within(ctx, x, req.GetNamespace())
	if err != nil {
		return err
	}
	defer done()
	stream, err := namespacespb.NewArchivesClient(x.Conn).Export(ctx, req)
	if err != nil {
		return err
	}
	p := moving{out: c.Err, live: terminal.Live(c.Err)}
	var bytes int64
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			p.end()
			fmt.Fprintf(c.Err, "Exported %s, %s.\n", cmp.Or(req.GetNamespace(), "the namespace"), size(bytes))
			return nil
		}
		if err != nil {
			p.end()
			return err
		}
		bytes += int64(len(m.GetData()))
		p.say(fmt.Sprintf("%s  %s", size(bytes), m.GetPart()), m.GetRecords())
		if _, err := out.Write(m.GetData()); err != nil {
			return err
		}
	}
}

// within answers a client in another namespace of the person who is logged in,
// without changing the current one.
func (c *cli) within(ctx context.Context, x *client, name string) (*client, func(), error) {
	stay := func() {}
	if name == "" || name == x.login.Namespace || name == c.namespace || os.Getenv("MICRO_TOKEN") != "" {
		return x, stay, nil
	}
	return c.enter(ctx, x, name)
}

// moving shows how much has been moved: on a terminal in a line that changes,
// elsewhere now and then.
type moving struct {
	out  io.Writer
	live bool
	last time.Time
}

// Times between two words about it.
const (
	livePause  = 100 * time.Millisecond
	quietPause = 5 * time.Second
)

func (m *moving) say(what string, records int64) {
	pause := quietPause
	if m.live {
		pause = livePause
	}
	if time.Since(m.last) < pause {
		return
	}
	first := m.last.IsZero()
	m.last = time.Now()
	switch {
	case m.live:
		fmt.Fprintf(m.out, "\r\x1b[K%s  %d", terminal.OneLine(what), records)
	case !first: // what is over at once needs no word
		fmt.Fprintf(m.out, "%s  %d\n", terminal.OneLine(what), records)
	}
}

func (m *moving) end() {
	if m.live && !m.last.IsZero() {
		fmt.Fprint(m.out, "\r\x1b[K")
	}
}
