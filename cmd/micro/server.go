package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/micro/platform/builder"
	"github.com/micro/platform/gateway"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/inbox"
	"github.com/micro/platform/internal/local"
	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/settings"
	"github.com/micro/platform/proxy"
	"github.com/micro/platform/scheduler"
	"github.com/micro/platform/scheduler/host"
	"github.com/micro/platform/services/audit"
	"github.com/micro/platform/services/auth"
	"github.com/micro/platform/services/broker"
	"github.com/micro/platform/services/config"
	"github.com/micro/platform/services/console"
	"github.com/micro/platform/services/events"
	"github.com/micro/platform/services/images"
	"github.com/micro/platform/services/namespaces"
	"github.com/micro/platform/services/network"
	"github.com/micro/platform/services/registry"
	"github.com/micro/platform/services/runtime"
	"github.com/micro/platform/services/store"
	usageservice "github.com/micro/platform/services/usage"
)

// components lists every component, in the order in which they start. They
// stop in reverse, so the edges are the last to open and the first to close.
func components() []app.Component {
	return []app.Component{
		auth.Component,
		audit.Component,
		registry.Component,
		config.Component,
		broker.Component,
		inbox.Component,
		namespaces.Component,
		events.Component,
		builder.Component,
		images.Component,
		scheduler.Component,
		host.Component,
		runtime.Component,
		network.Component,
		store.Component,
		usageservice.Component,
		proxy.Component,
		gateway.Component,
		console.Component,
	}
}

// severalHosts are the components that one host by itself does without: micro
// server starts them only if they are named.
var severalHosts = []string{"host", "images"}

// together are the components of one host.
func together() []app.Component {
	return slices.DeleteFunc(components(), func(c app.Component) bool { return slices.Contains(severalHosts, c.Name) })
}

// clientNames are the MICRO_ names that the command line and services read.
// They may stand in a server's environment without meaning anything to it.
var clientNames = []string{
	"MICRO_ENV", "MICRO_CONFIG_FILE", "MICRO_NAMESPACE", "MICRO_PASSPHRASE", "MICRO_PROXY", "MICRO_TOKEN",
	"MICRO_TEST_POSTGRES_URL", "MICRO_TEST_REDIS_URL",
}

// renamed are settings that were called otherwise: an environment written for
// an older server still starts this one.
var renamed = map[string]string{
	"MICRO_NAMESPACES_SMTP_ADDRESS":       "MICRO_SMTP_ADDRESS",
	"MICRO_NAMESPACES_SMTP_USER":          "MICRO_SMTP_USER",
	"MICRO_NAMESPACES_SMTP_PASSWORD":      "MICRO_SMTP_PASSWORD",
	"MICRO_NAMESPACES_SMTP_PASSWORD_FILE": "MICRO_SMTP_PASSWORD_FILE",
	"MICRO_NAMESPACES_MAIL_FROM":          "MICRO_MAIL_FROM",
}

// stopTimeout is what is left of the ten seconds of a clean stop when the
// components have had theirs.
const stopTimeout = 2 * time.Second

func serverCommand() *cobra.Command {
	s := server{environ: settings.Environ()}
	cmd := &cobra.Command{
		Use:   "server [COMPONENT...]",
		Short: "Run the platform, with a Postgres and a Redis of its own",
		Long: `Runs every component in this process, or those that are named, and starts the
servers that are not named in the environment: Postgres, Redis, and in
development an inbox for mail. Everything it keeps is in one directory.`,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			s.out = cmd.OutOrStdout()
			if s.print {
				return s.printConfig()
			}
			return s.run(cmd.Context(), args)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&s.print, "print-config", false, "print every setting with value, default and meaning, and stop")
	f.StringVarP(&s.output, "output", "o", "table", "of --print-config: table or json")
	for flag, name := range map[string]string{
		"data-dir":        "MICRO_SERVER_DATA_DIR",
		"api-address":     "MICRO_GATEWAY_ADDRESS",
		"proxy-address":   "MICRO_PROXY_ADDRESS",
		"console-address": "MICRO_CONSOLE_ADDRESS",
	} {
		f.Var(environFlag{s.environ, name}, flag, "same as "+name)
	}
	return cmd
}

// environFlag is a flag that stands for a variable of the environment.
type environFlag struct {
	environ map[string]string
	name    string
}

func (f environFlag) String() string     { return "" }
func (f environFlag) Type() string       { return "string" }
func (f environFlag) Set(v string) error { f.environ[f.name] = v; return nil }

type server struct {
	environ map[string]string
	known   []settings.Setting // every setting, once they are loaded
	print   bool
	output  string
	out     io.Writer
}

func (s *server) run(ctx context.Context, names []string) error {
	started := time.Now()
	selected := together()
	if len(names) > 0 {
		var err error
		if selected, err = app.Select(components(), names); err != nil {
			return err
		}
	}
	platform, o, err := s.load()
	if err != nil {
		return err
	}
	s.derive()
	collectLess()
	log := newLog(platform)
	spare(log)
	servers, err := local.Start(ctx, o, platform)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		servers.Stop(ctx)
	}()
	p := servers.Platform
	if err := p.CheckSecrets(); err != nil {
		return err
	}
	if err := pg.Migrate(ctx, p.PostgresURL.Reveal(), p.Secrets()); err != nil {
		return err
	}
	admin, err := s.firstPassword(&p, servers.Fresh)
	if err != nil {
		return err
	}
	return app.Run(ctx, app.Config{
		Components: selected, Environ: s.environ, Platform: p, Log: log,
		Failed: servers.Ended(),
		Ready:  func() { s.banner(time.Since(started), servers.Dir, admin) },
	})
}

// collectLess lets the heap grow to four times what is in use, which is little,
// before the garbage is collected: under load that took a tenth of the CPU time.
// GOGC has the last word.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}
}

// derive sets what follows from the addresses that people use, unless it is set.
func (s *server) derive() {
	derived := map[string]string{
		"MICRO_CONSOLE_API":  "http://" + s.address("MICRO_GATEWAY_ADDRESS"),
		"MICRO_AUTH_CONSOLE": consoleAt(s.address("MICRO_CONSOLE_ADDRESS")),
	}
	if _, port, err := net.SplitHostPort(s.address("MICRO_PROXY_ADDRESS")); err == nil {
		derived["MICRO_SCHEDULER_EDGE_ADDRESS"] = ":" + port // the proxy listens for containers on the same port
	}
	if !s.loopback() { // strangers may sign up, whatever plan they are given
		derived["MICRO_BUILDER_GVISOR"], derived["MICRO_SCHEDULER_FIREWALL"] = "require", "require"
	}
	for name, value := range derived {
		if s.environ[name] == "" {
			s.environ[name] = value
		}
	}
}

// consoleAt is how a browser on this machine reaches the console: passkeys belong
// to a name, never to an IP address.
func consoleAt(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsLoopback() {
		return "http://" + net.JoinHostPort("localhost", port)
	}
	return "http://" + address
}

// load reads the settings, and refuses those that nobody knows.
func (s *server) load() (app.Platform, local.Options, error) {
	var p app.Platform
	var o local.Options
	for old, name := range renamed {
		if value, ok := s.environ[old]; ok && s.environ[name] == "" {
			s.environ[name] = value
		}
		delete(s.environ, old)
	}
	known, err := s.settings()
	if err != nil {
		return p, o, err
	}
	s.known = known
	names := clientNames
	for _, k := range known {
		names = append(names, k.Name)
	}
	if unknown := settings.Unknown(s.environ, names); len(unknown) > 0 {
		return p, o, fmt.Errorf("no such setting: %v (micro server --print-config lists them)", unknown)
	}
	if err := settings.Load("", &p, s.environ); err != nil {
		return p, o, err
	}
	return p, o, settings.Load("server", &o, s.environ)
}

func (s *server) settings() ([]settings.Setting, error) {
	all, err := app.Settings(s.environ, components())
	if err != nil {
		return nil, err
	}
	var o local.Options
	if err := settings.Load("server", &o, s.environ); err != nil {
		return nil, err
	}
	return append(all, settings.Describe("server", o)...), nil
}

func (s *server) printConfig() error {
	all, err := s.settings()
	if err != nil {
		return err
	}
	if s.output == "json" {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tVALUE\tDEFAULT\tMEANING")
	for _, x := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", x.Name, x.Value, x.Default, x.Help)
	}
	return w.Flush()
}

// setting answers a setting as it was loaded.
func (s *server) setting(name string) settings.Setting {
	i := slices.IndexFunc(s.known, func(k settings.Setting) bool { return k.Name == name })
	if i < 0 {
		return settings.Setting{Name: name}
	}
	return s.known[i]
}

func (s *server) address(name string) string { return s.setting(name).Value }

// loopback says whether what people reach is on loopback only.
func (s *server) loopback() bool {
	listeners := []string{"MICRO_GATEWAY_ADDRESS", "MICRO_PROXY_ADDRESS", "MICRO_CONSOLE_ADDRESS", "MICRO_INBOX_ADDRESS"}
	return !slices.ContainsFunc(listeners, func(name string) bool { return !onLoopback(s.address(name)) })
}

func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func newLog(p app.Platform) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(p.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if p.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}
