package runtime

import (
	"context"
	"strings"

	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
)

// standing is what a service needs in order to run at all, whoever deployed it:
// to say where it is, and to read the rules as Micro's framework does.
var standing = []string{"registry:Registry.Register:write", "registry:Registry.Deregister:write", "auth:Rules.List:read"}

// limitsOf are the grants of an API token that deploys; nil is a login, which
// has no limits.
func limitsOf(ctx context.Context) []string {
	c, _ := identity.From(ctx)
	if !c.Limited() {
		return nil
	}
	return grants.Texts(c.Grants)
}

// narrow answers the limits of code that was there with limits of its own, and
// that somebody deploys anew: whoever does so gives it no more than it had.
func narrow(had, now []string) ([]string, error) {
	if had == nil {
		return now, nil
	}
	if now == nil {
		return had, nil
	}
	a, err := grants.ParseAll(had)
	if err != nil {
		return nil, err
	}
	b, err := grants.ParseAll(now)
	if err != nil {
		return nil, err
	}
	return grants.Texts(grants.Meet(a, b)), nil
}

// accountMetadata describes the account of a revision. Auth limits its tokens to
// the grants in it.
func accountMetadata(m map[string]string, sp spec) map[string]string {
	if sp.Grants != nil {
		m["grants"] = strings.Join(append(append([]string{}, standing...), sp.Grants...), " ")
	}
	return m
}
