package firewall

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Firewall keeps the rules of one cluster on this host.
type Firewall struct {
	policy func(context.Context) (Policy, error)
	log    *slog.Logger
	again  chan struct{} // holds one when the policy may be another

	mu sync.Mutex
	// What was set last, and what nft made of it.
	script, listing string
	state           State
}

// State says whether the rules are in force.
type State struct {
	InForce bool
	// Problem says why not, for people; empty before the first try.
	Problem string
	// Mended is how often rules were missing or changed that had been set.
	Mended int
}

// New makes a Firewall that asks for the policy each time it looks.
func New(policy func(context.Context) (Policy, error), log *slog.Logger) *Firewall {
	return &Firewall{policy: policy, log: log, again: make(chan struct{}, 1)}
}

const (
	// every is how often the rules are looked at.
	every = 5 * time.Second
	// nftTimeout bounds one run of nft, which takes milliseconds.
	nftTimeout = 5 * time.Second
)

// Run sets the rules and looks after them until ctx ends. They stay when it
// ends, as the containers do.
func (f *Firewall) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		f.Assert(ctx) //nolint:errcheck // State has it
		select {
		case <-ctx.Done():
		case <-f.again:
		case <-time.After(every):
		}
	}
	return nil
}

// Look makes Run look at once. It does not wait.
func (f *Firewall) Look() {
	select {
	case f.again <- struct{}{}:
	default:
	}
}

// State answers what the last look found.
func (f *Firewall) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// Assert makes the rules be as the policy says now.
func (f *Firewall) Assert(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, err := f.policy(ctx)
	if err != nil {
		// Whether they are in force is not known to have changed.
		return fmt.Errorf("ask what the host's firewall shall be: %w", err)
	}
	mended, err := f.assert(ctx, p)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := State{InForce: err == nil, Mended: f.state.Mended}
	if err != nil {
		now.Problem = err.Error()
	}
	if mended {
		now.Mended++
		f.log.Warn("rules of the host's firewall were missing or changed, they are set again", "table", table(p.Cluster))
	}
	if now.Problem != f.state.Problem {
		f.say(p, now)
	}
	f.state = now
	return err
}

func (f *Firewall) say(p Policy, now State) {
	if now.InForce {
		f.log.Info("the host's firewall is in force again", "table", table(p.Cluster))
		return
	}
	f.log.Warn("the host's firewall cannot be set: containers reach what listens on this host and in its networks", "problem", now.Problem)
}

// assert looks whether all is as it was set, and sets it if not. It answers
// whether somebody else had changed it.
func (f *Firewall) assert(ctx context.Context, p Policy) (mended bool, err error) {
	script, err := p.ruleset()
	if err != nil {
		return false, err
	}
	if len(p.Networks) == 0 { // taking it away shows as well whether it could be set
		script = removal(table(p.Cluster))
	}
	if script == f.script && f.listing == "" {
		return false, nil
	}
	if script == f.script {
		is, err := list(ctx, p.Cluster)
		if err == nil && is == f.listing {
			return false, nil
		}
		mended = true
	}
	if _, err := nft(ctx, script, "-f", "-"); err != nil {
		return false, err
	}
	listing := ""
	if len(p.Networks) > 0 {
		if listing, err = list(ctx, p.Cluster); err != nil {
			return false, err
		}
	}
	f.script, f.listing = script, listing
	return mended, nil
}

// list answers the rules of a cluster as nft has them, without what is counted.
func list(ctx context.Context, cluster string) (string, error) {
	rules, err := nft(ctx, "", "list", "table", "inet", table(cluster))
	if err != nil {
		return "", err
	}
	counting, err := nft(ctx, "", "list", "chain", "inet", egressTable(cluster), "forward")
	return rules + counting, err
}

// Remove takes all of a cluster away: there is nothing left to guard or count.
func Remove(ctx context.Context, cluster string) error {
	_, err := nft(ctx, removal(table(cluster))+removal(egressTable(cluster)), "-f", "-")
	return err
}

// removal is a script that removes a table. Adding it first makes it no error
// that there is none.
func removal(table string) string {
	return fmt.Sprintf("add table inet %s\ndelete table inet %[1]s\n", table)
}

// nft runs the program that sets nftables.
func nft(ctx context.Context, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, nftTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nft", args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		if first == "" {
			first = "install nftables, and let the server run as root or with CAP_NET_ADMIN"
		}
		return "", fmt.Errorf("%w: %s", err, first)
	}
	return out.String(), nil
}
