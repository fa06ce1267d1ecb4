// Command micro is all of Micro in one binary: the command line that people
// use, and the server it talks to.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/micro/platform/internal/cli/terminal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], terminal.New(os.Stdin, os.Stdout, os.Stderr)))
}

func run(ctx context.Context, args []string, t *terminal.Terminal) int {
	root := rootCommand(t)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return report(ctx, t.Err, cmd, err)
}

// journey is what somebody needs to know who types micro and nothing else.
const journey = `Micro turns source into running services and lets you call them.

Start here:

  micro signup                           make an account and a namespace
  micro new helloworld                   write a service to start from
  micro run ./helloworld                 build it and run it on the server
  micro status                           see what runs, and why something does not
  micro helloworld call --name=Jane      call it: every endpoint is a command
  micro logs -f helloworld               read what it writes
  micro update ./helloworld              run what you changed

Which server is meant: "micro env" (a server of your own: "micro server").`

func rootCommand(t *terminal.Terminal) *cobra.Command {
	c := &cli{Terminal: t}
	root := &cobra.Command{
		Use:     "micro",
		Short:   "Deploy services from source and call them",
		Long:    journey,
		Version: version(),
		Args:    cobra.ArbitraryArgs,
		RunE:    c.dynamic,
		// Besides our commands there are the services and their endpoints.
		ValidArgsFunction: c.completeDynamic,
		SilenceErrors:     true,
		SilenceUsage:      true,
		// Flags behind the name of a service are that service's.
		TraverseChildren: true,
	}
	root.Flags().SetInterspersed(false)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%v (%s --help lists the flags)", err, cmd.CommandPath())
	})
	root.SetOut(t.Out)
	root.SetErr(t.Err)
	root.SetVersionTemplate("{{.Version}}\n")
	c.globalFlags(root)
	c.addCommands(root)
	root.AddCommand(serverCommand(), serviceCommand(), readyCommand(c), shutdownCommand(), migrateCommand(), certsCommand(c),
		backupCommand(c), restoreCommand(c), resealCommand(c), builderImageCommand())
	return root
}

// addCommands adds the commands of people, in the order of the journey.
func (c *cli) addCommands(root *cobra.Command) {
	for _, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Your account:", []*cobra.Command{signupCommand(c), loginCommand(c), logoutCommand(c), userCommand(c), namespaceCommand(c), envCommand(c), authCommand(c), planCommand(c), limitsCommand(c), usageCommand(c), budgetCommand(c), auditCommand(c)}},
		{"Your services:", []*cobra.Command{newCommand(c), genCommand(c), runCommand(c), updateCommand(c), rollBackCommand(c), scaleCommand(c), killCommand(c), statusCommand(c), revisionsCommand(c), logsCommand(c)}},
		{"Your data:", []*cobra.Command{configCommand(c), storeCommand(c), brokerCommand(c), eventsCommand(c)}},
		{"Calling:", []*cobra.Command{servicesCommand(c), getCommand(c), callCommand(c), streamCommand(c), healthCommand(c), statsCommand(c), networkCommand(c)}},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, cmd := range g.commands {
			cmd.GroupID = g.title
			root.AddCommand(cmd)
		}
	}
	debug := debugCommand(c)
	debug.Hidden = true
	root.AddCommand(adminCommand(c), doctorCommand(c), webCommand(c), promptCommand(c), versionCommand(c), debug)
}
