package auth

import (
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
)

// grantsKey is the key of an account's metadata that limits its tokens to
// grants, with spaces between them: the account of a revision that was deployed
// with an API token has that token's. It is written when the account is made,
// and nothing changes it.
const grantsKey = "grants"

// limits are the grants that every token of the account is limited to; none is
// no limit.
func (a account) limits() []string { return strings.Fields(a.Metadata[grantsKey]) }

// checkLimits refuses metadata whose grants cannot be held to.
func checkLimits(a account) error {
	text, ok := a.Metadata[grantsKey]
	if !ok {
		return nil
	}
	list := a.limits()
	_, err := grants.ParseAll(list)
	switch {
	case a.Type != identity.Service:
		return errors.New(codes.InvalidArgument, "metadata %q: only accounts of type %q have grants", grantsKey, identity.Service)
	case len(list) == 0:
		return errors.New(codes.InvalidArgument, "metadata %q: name a grant, such as notes:*:read", grantsKey)
	case err != nil:
		return errors.New(codes.InvalidArgument, "metadata %q: %v, not as in %q", grantsKey, err, errors.Clip(text))
	}
	return nil
}
