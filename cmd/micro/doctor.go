package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/config"
	authpb "github.com/micro/platform/proto/auth"
	debugpb "github.com/micro/platform/proto/debug"
	networkpb "github.com/micro/platform/proto/network"
	runtimepb "github.com/micro/platform/proto/runtime"
)

const (
	// checkTimeout bounds each check of the doctor.
	checkTimeout = 10 * time.Second
	// maxSkew is how far two clocks may be apart before tokens, which live
	// minutes, seem expired to one side.
	maxSkew = 30 * time.Second
)

// check is one thing that the doctor looked at.
type check struct {
	Name   string `json:"check"`
	Result string `json:"result"` // ok, warning or failed
	Detail string `json:"detail"`
	// Fix is what to do about it, empty when nothing is.
	Fix string `json:"fix,omitempty"`
}

const (
	ok      = "ok"
	warning = "warning"
	failed  = "failed"
)

func doctorCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check this machine, the server and your login, and say what to do",
		Long: `Checks the settings, the way to the server, the clocks, the login, the services that
are deployed, and the programs that some commands need. The exit code is 1 when
something failed.`,
		Args: exactly(),
	}
	asJSON := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		checks := c.diagnose(cmd.Context())
		if err := c.printChecks(checks, inJSON); err != nil {
			return err
		}
		for _, k := range checks {
			if k.Result == failed {
				return fail(exitFailed, "something is wrong, see above")
			}
		}
		return nil
	}
	return cmd
}

func (c *cli) printChecks(checks []check, inJSON bool) error {
	if inJSON {
		return c.JSON(checks)
	}
	rows := [][]string{{"CHECK", "RESULT", "DETAIL"}}
	for _, k := range checks {
		detail := k.Detail
		if k.Fix != "" {
			detail += ": " + k.Fix
		}
		rows = append(rows, []string{k.Name, k.Result, detail})
	}
	return c.Table(rows)
}

// diagnose goes from this machine to the server; what needs a step that failed
// is not tried.
func (c *cli) diagnose(ctx context.Context) []check {
	checks := []check{{"version", ok, version(), ""}}
	p, err := c.place()
	if err != nil {
		checks = append(checks, check{"settings", failed, err.Error(), "mend or remove the file, or use another one with -c"})
		return append(checks, programs()...)
	}
	checks = append(checks, c.files(), check{"environment", ok, p.env.Name + " at " + p.env.ProxyAddress, ""})
	reached := reach(ctx, p.env.ProxyAddress)
	checks = append(checks, reached)
	if reached.Result == ok {
		checks = append(checks, c.askServer(ctx)...)
	}
	return append(checks, programs()...)
}

// files looks at who may read the logins.
func (c *cli) files() check {
	dir, err := config.Dir()
	if err != nil {
		return check{"files", failed, err.Error(), "set HOME to a directory that you may write to"}
	}
	info, err := os.Stat(dir + "/tokens")
	switch {
	case os.IsNotExist(err):
		return check{"files", ok, dir, ""}
	case err != nil:
		return check{"files", failed, err.Error(), ""}
	case info.Mode().Perm()&0o077 != 0:
		return check{"files", warning, "others can read your logins", "chmod 700 " + dir + "/tokens"}
	}
	return check{"files", ok, dir, ""}
}

// reach opens a connection, to tell a wrong name from a closed port.
func reach(ctx context.Context, address string) check {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, "443")
	}
	began := time.Now()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return check{"connection", failed, err.Error(), `start the server ("micro server"), or choose another one ("micro env")`}
	}
	conn.Close()
	return check{"connection", ok, fmt.Sprintf("%s answers in %v", address, time.Since(began).Round(time.Millisecond)), ""}
}

// askServer asks the server.
func (c *cli) askServer(ctx context.Context) []check {
	x, err := c.connect()
	if err != nil {
		return []check{{"server", failed, err.Error(), ""}}
	}
	defer x.Close()
	server, clock := x.server(ctx)
	if server.Result != ok {
		return []check{server}
	}
	login := c.loggedIn(ctx, x)
	checks := []check{server, clock, login}
	if login.Result == ok {
		checks = append(checks, x.deployed(ctx))
		checks = append(checks, x.hosts(ctx)...)
	}
	return checks
}

func (x *client) server(ctx context.Context) (server, clock check) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	rsp := &debugpb.StatsResponse{}
	began := time.Now()
	if err := x.Conn.Invoke(ctx, "/auth.Debug/Stats", &debugpb.StatsRequest{}, rsp); err != nil {
		text, _ := x.Explain(err)
		return check{"server", failed, text, "the address must be that of a Micro proxy: \"micro env add NAME ADDRESS\""}, check{}
	}
	took := time.Since(began)
	server = check{"server", ok, fmt.Sprintf("up for %v, a call takes %v", time.Duration(rsp.GetUptime())*time.Second, took.Round(100*time.Microsecond)), ""}
	skew := time.Since(time.Unix(int64(rsp.GetTimestamp()), 0)).Truncate(time.Second)
	if skew.Abs() > maxSkew {
		return server, check{"clock", warning, fmt.Sprintf("this machine and the server differ by %v", skew.Abs()), "tokens may seem expired: set the clock"}
	}
	return server, check{"clock", ok, fmt.Sprintf("within %v of the server's", maxSkew), ""}
}

func (c *cli) loggedIn(ctx context.Context, x *client) check {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	token, err := x.Token(ctx)
	if err != nil {
		text, _ := x.Explain(err)
		return check{"login", failed, text, `run "micro login"`}
	}
	if token == "" {
		return check{"login", warning, notLoggedIn(x).Error(), ""}
	}
	rsp, err := authpb.NewAuthClient(x.Conn).Inspect(ctx, &authpb.InspectRequest{Token: token})
	if err != nil {
		text, _ := x.Explain(err)
		return check{"login", failed, text, `run "micro login"`}
	}
	a := rsp.GetAccount()
	return check{"login", ok, fmt.Sprintf("%s of namespace %s", a.GetId(), a.GetIssuer()), ""}
}

// deployed looks for services that do not run.
func (x *client) deployed(ctx context.Context) check {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	rsp, err := x.runtime().Read(ctx, &runtimepb.ReadRequest{Options: &runtimepb.ReadOptions{Namespace: x.Namespace}})
	if err != nil {
		text, _ := x.Explain(err)
		return check{"services", failed, text, ""}
	}
	var broken []string
	for _, s := range rsp.GetServices() {
		if s.GetStatus() == statusError {
			broken = append(broken, s.GetName())
		}
	}
	if len(broken) > 0 {
		return check{"services", warning, fmt.Sprintf("%d of %d are in error", len(broken), len(rsp.GetServices())),
			fmt.Sprintf("micro status %s, then micro logs %[1]s", broken[0])}
	}
	return check{"services", ok, fmt.Sprintf("%d deployed, none in error", len(rsp.GetServices())), ""}
}

// hosts looks whether the hosts keep tenants' code in, for operators.
func (x *client) hosts(ctx context.Context) []check {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	rsp, err := x.network().Hosts(ctx, &networkpb.HostsRequest{})
	switch errors.Code(err) {
	case codes.OK:
	case codes.PermissionDenied, codes.NotFound, codes.Unimplemented: // not an operator, or an older server
		return nil
	default:
		text, _ := x.Explain(err)
		return []check{{"hosts", warning, text, ""}}
	}
	var checks []check
	for _, h := range rsp.GetHosts() {
		kept := "the firewall is in force"
		if h.GetUnrouted() {
			kept = "containers have no route out"
		}
		k := check{"host " + h.GetName(), ok, kept + "; services run in " + h.GetServicesRuntime() + ", builds in " + h.GetBuildsRuntime(), ""}
		if !h.GetFirewall() && !h.GetUnrouted() || len(h.GetProblems()) > 0 {
			k.Result, k.Detail, k.Fix = warning, strings.Join(h.GetProblems(), "; "), "see docs/isolation.md"
		}
		checks = append(checks, k)
	}
	return checks
}

// programs looks for what some commands start.
func programs() []check {
	path, err := exec.LookPath("go")
	if err != nil {
		return []check{{"go", warning, "not found", "install Go: what micro new and micro gen write is built with it"}}
	}
	return []check{{"go", ok, path, ""}}
}
