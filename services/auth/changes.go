package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
	"github.com/micro/platform/internal/rules"
	"github.com/micro/platform/internal/watch"
	authpb "github.com/micro/platform/proto/auth"
)

// changes keeps what edges must know in memory, follows the database's
// notifications, which arrive in the order of the commits, and hands both to
// watchers. It holds the rules of namespaces that have some, and revocations.
type changes struct {
	db             db
	keysChanged    func(context.Context) error
	log            *slog.Logger
	publicPlatform bool

	feed    *watch.Feed[*authpb.Change] // guards what follows
	rules   map[string]*authpb.RuleSet
	revoked *identity.Revocations
}

func newChanges(d db, keysChanged func(context.Context) error, log *slog.Logger, publicPlatform bool) *changes {
	return &changes{db: d, keysChanged: keysChanged, log: log, publicPlatform: publicPlatform,
		feed: watch.NewFeed[*authpb.Change](), revoked: identity.NewRevocations()}
}

// notice is the payload of a notification. One of the fields is set.
type notice struct {
	Rules      string            `json:"rules,omitempty"` // a namespace
	Revocation *revocationNotice `json:"revocation,omitempty"`
	Services   string            `json:"services,omitempty"` // a namespace whose revocations of services have become one
	Keys       bool              `json:"keys,omitempty"`
}

type revocationNotice struct {
	Namespace string `json:"namespace"`
	Account   string `json:"account,omitempty"`
	Session   string `json:"session,omitempty"`
	Epoch     int64  `json:"epoch,omitempty"`
	Expires   int64  `json:"expires"`
	Service   bool   `json:"service,omitempty"`
	Kept      string `json:"kept,omitempty"`
	Erased    bool   `json:"erased,omitempty"`
}

func (n revocationNotice) proto() *authpb.Revocation {
	return &authpb.Revocation{Namespace: n.Namespace, Account: n.Account, Session: n.Session,
		Epoch: n.Epoch, Expires: n.Expires, Service: n.Service, KeptSession: n.Kept, Erased: n.Erased}
}

// run follows the database until ctx ends, through losses of the connection.
func (c *changes) run(ctx context.Context) error {
	return pg.Listener{Pool: c.db.pool, Channel: channel, Log: c.log, Began: c.load, Heard: c.apply}.Run(ctx)
}

// load reads the whole state.
func (c *changes) load(ctx context.Context) error {
	sets, err := c.db.ruleSets(ctx)
	if err != nil {
		return err
	}
	revocations, err := c.db.revocations(ctx)
	if err != nil {
		return err
	}
	if err := c.keysChanged(ctx); err != nil {
		return err
	}
	c.feed.Replace(func() {
		c.rules = map[string]*authpb.RuleSet{}
		for namespace, list := range sets {
			c.rules[namespace] = &authpb.RuleSet{Namespace: namespace, Rules: rules.Sort(list)}
		}
		if c.rules[identity.Platform] == nil {
			c.rules[identity.Platform] = c.ruleSet(identity.Platform, nil)
		}
		c.revoked = identity.NewRevocations()
		for _, r := range revocations {
			c.revoked.Add(r)
		}
	})
	return nil
}

// ruleSet is what watchers are told. They know the default of tenants'
// namespaces, not that of the platform's.
func (c *changes) ruleSet(namespace string, list []*authpb.Rule) *authpb.RuleSet {
	if len(list) == 0 && namespace == identity.Platform {
		list = []*authpb.Rule{defaultRule(namespace, c.publicPlatform)}
	}
	return &authpb.RuleSet{Namespace: namespace, Rules: rules.Sort(list)}
}

func (c *changes) apply(ctx context.Context, payload string) error {
	var n notice
	if err := json.Unmarshal([]byte(payload), &n); err != nil {
		return fmt.Errorf("read notification: %w", err)
	}
	switch {
	case n.Rules != "":
		list, err := c.db.listRules(ctx, n.Rules)
		if err != nil {
			return err
		}
		set := c.ruleSet(n.Rules, list)
		c.feed.Change(&authpb.Change{Rules: set}, func() {
			if len(set.GetRules()) == 0 {
				delete(c.rules, n.Rules)
			} else {
				c.rules[n.Rules] = set
			}
		})
	case n.Revocation != nil:
		r := n.Revocation.proto()
		c.feed.Change(&authpb.Change{Revocation: r}, func() { c.revoked.Add(r) })
	case n.Services != "":
		r, err := c.db.goneServices(ctx, n.Services)
		if err != nil || r == nil {
			return err
		}
		c.feed.Change(&authpb.Change{Revocation: r}, func() { c.revoked.Add(r) })
	case n.Keys:
		if err := c.keysChanged(ctx); err != nil {
			return err
		}
		c.feed.Change(&authpb.Change{Keys: true}, func() {})
	}
	return nil
}

// snapshot is the state as a watcher is told it.
func (c *changes) snapshot() []*authpb.Change {
	out := make([]*authpb.Change, 0, len(c.rules)+c.revoked.Len()+1)
	for _, set := range c.rules {
		out = append(out, &authpb.Change{Rules: set})
	}
	for _, r := range c.revoked.All() {
		out = append(out, &authpb.Change{Revocation: r})
	}
	return append(out, &authpb.Change{Ready: true})
}

// isRevoked says whether a token that is good by itself is refused.
func (c *changes) isRevoked(ctx context.Context, caller identity.Caller) (is bool, err error) {
	err = c.feed.Look(ctx, func() { is = c.revoked.Revoked(caller) })
	return is, err
}

// prune forgets revocations of tokens that have all expired.
func (c *changes) prune(ctx context.Context, now time.Time) error {
	return c.feed.Look(ctx, func() { c.revoked.Prune(now) })
}
