package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/archive"
	"github.com/micro/platform/internal/cli/config"
	"github.com/micro/platform/internal/cli/remote"
	"github.com/micro/platform/internal/cli/restore"
	"github.com/micro/platform/internal/cli/terminal"
)

// importFlags are those of an import.
type importFlags struct {
	passphrase
	into, only        string
	overwrite, dryRun bool
}

func importNamespaceCommand(c *cli) *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Import an archive of \"micro namespace export\"", Args: exactly("FILE"),
		Long: `Reads an archive into the current namespace, or another of yours, on any server, and
deploys its services. The whole file is checked first: of a damaged one nothing is
written. What exists is refused, unless --overwrite replaces it. Run the same
command again to resume an interrupted import. Members are not created; the command
lists them so that you can invite them.`,
		Example: "  micro namespace import acme.tar.gz --dry-run\n  micro namespace import acme.tar.gz --into acme-copy --only config,store",
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			return c.importNamespace(ctx, x, args[0], f)
		}),
	}
	cmd.Flags().StringVar(&f.into, "into", "", "`namespace` to import into, instead of the current one")
	cmd.Flags().StringVar(&f.only, "only", "", "import only these parts: services,config,store,events,rules")
	cmd.Flags().BoolVar(&f.overwrite, "overwrite", false, "replace what exists")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "report what would be imported and what conflicts, without writing")
	f.flags(cmd, "import the secrets, with the passphrase of the archive")
	return cmd
}

func (c *cli) importNamespace(ctx context.Context, x *client, path string, f importFlags) error {
	var names []string
	if f.only != "" {
		names = strings.Split(f.only, ",")
	}
	only, err := restore.Select(names)
	if err != nil {
		return usage("--only: %v", err)
	}
	file, err := os.Open(path)
	if err != nil {
		return usage("%v", err)
	}
	defer file.Close()
	a, err := restore.Open(file)
	if err != nil {
		return fail(exitFailed, "%s: %v; nothing was imported", path, err)
	}
	secret, err := f.get(ctx, c, false)
	if err != nil {
		return err
	}
	x, done, err := c.within(ctx, x, f.into)
	if err != nil {
		return err
	}
	defer done()
	p := &moving{out: c.Err, live: terminal.Live(c.Err)}
	i, err := restore.New(a, x.Conn, restore.Options{
		Namespace: x.Namespace, Only: only, Overwrite: f.overwrite, Passphrase: secret,
		Progress: func(part archive.Part, n int64) { p.say(string(part.Kind)+" "+part.Of, n) },
		Say:      func(text string) { p.end(); fmt.Fprintln(c.Err, terminal.OneLine(text)) },
	})
	if err != nil {
		return usage("%v", err)
	}
	if f.dryRun {
		return c.importPlan(ctx, i, a)
	}
	deployed, err := i.Run(ctx)
	p.end()
	if errors.Is(err, archive.ErrPassphrase) {
		return usage("%v; nothing was imported", err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "Imported %s of %s into %s.\n", a.Namespace, a.Created.Format("2006-01-02 15:04 UTC"), cmp.Or(x.Namespace, "the namespace"))
	for _, m := range a.Members {
		fmt.Fprintf(c.Out, "%s was %s: micro namespace invite %s --role %s\n", terminal.OneLine(m.Account), terminal.OneLine(m.Role), terminal.OneLine(m.Account), terminal.OneLine(m.Role))
	}
	return c.followAll(ctx, x, deployed)
}

// importPlan prints what an import would do. What is in its way is an error.
func (c *cli) importPlan(ctx context.Context, i *restore.Import, a *restore.Archive) error {
	p, err := i.Plan(ctx)
	if err != nil {
		return err
	}
	rows := [][]string{{"Part", "Of", "Records", "Done"}}
	for _, part := range p.Parts {
		rows = append(rows, []string{string(part.Kind), cmp.Or(part.Of, absent), fmt.Sprint(part.Records), fmt.Sprint(p.Done[part.Name])})
	}
	if err := c.Table(rows); err != nil {
		return err
	}
	if a.Sealed != nil {
		fmt.Fprintln(c.Err, "The archive has secrets: --secrets imports them, with its passphrase.")
	}
	return p.Refusal()
}

// followAll waits for what was deployed, one service after the other.
func (c *cli) followAll(ctx context.Context, x *client, deployed []restore.Deployed) error {
	failed := 0
	for _, d := range deployed {
		if d.Revision == 0 {
			fmt.Fprintf(c.Out, "%s is deployed already.\n", d.Service.GetName())
			continue
		}
		if err := c.follow(ctx, x, newProgress(c, d.Service.GetName(), false), d.Service, d.Revision); err != nil {
			if ctx.Err() != nil {
				return err
			}
			failed++
			fmt.Fprintln(c.Err, terminal.Inert(x.explained(err).Error()))
			continue
		}
		fmt.Fprintf(c.Out, "%s is running.\n", d.Service.GetName())
	}
	if failed > 0 {
		return fail(exitFailed, "%d of %d services do not run; everything else was imported", failed, len(deployed))
	}
	return nil
}

// enter logs in to another namespace of the person who is logged in. That login
// is kept, and the current namespace stays.
func (c *cli) enter(ctx context.Context, x *client, name string) (*client, func(), error) {
	account, token, err := x.Switch(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := c.tokens()
	if err != nil {
		return nil, nil, err
	}
	login := config.Login{Address: x.login.Address, Namespace: account.GetIssuer(), Account: account.GetId()}
	if err := tokens.Put(login, token); err != nil {
		return nil, nil, err
	}
	s, err := remote.Open(login, tokens, "")
	if err != nil {
		return nil, nil, err
	}
	other := *x
	other.Session, other.login, other.Namespace = s, login, account.GetIssuer()
	return &other, func() { s.Close() }, nil
}
