package auth

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/password"
	authpb "github.com/micro/platform/proto/auth"
)

// The limits keep a token far below 16 KiB, which is all that edges accept in a
// call's metadata.
const (
	maxID       = 128
	maxSecret   = 4096 // what is compared at all
	maxScopes   = 32
	maxScope    = 64
	maxPairs    = 64
	maxMetadata = 4096 // bytes of all keys and values
	maxPart     = 256  // of a rule's resource
	maxGrants   = 2048 // bytes of all of a token
)

func checkID(what, id string) error {
	if len(id) > maxID || !utf8.ValidString(id) || strings.ContainsFunc(id, unprintable) || strings.TrimSpace(id) != id {
		return errors.New(codes.InvalidArgument, "%s must have at most %d bytes, no control characters, and no space at its ends", what, maxID)
	}
	return nil
}

// unprintable are control characters, and those that turn the direction of
// what is shown, so that one name looks like another.
func unprintable(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// checkNamespace checks a name that an operator or a component gave: others
// can only mean their own.
func checkNamespace(namespace string) error {
	ok := len(namespace) > 0 && len(namespace) <= 63
	for i, c := range namespace {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' && i > 0)
	}
	if !ok {
		return errors.New(codes.InvalidArgument, "a namespace has 1 to 63 lower-case letters, digits and hyphens")
	}
	return nil
}

// checkSecret checks what an account shall prove itself with. People's must be
// long, as at sign-up. What an admin calls a program's account, and how short a
// secret an existing script gives it, was never restricted.
func checkSecret(id, secret string) error {
	least := 1
	if strings.Contains(id, "@") { // people are called by their addresses
		least = password.MinLength
	}
	if len(secret) < least || len(secret) > password.MaxLength {
		return errors.New(codes.InvalidArgument, "the secret of %q must have %d to %d bytes", errors.Clip(id), least, password.MaxLength)
	}
	return nil
}

// splitScopes takes apart what Micro v3.10 sends as one scope when several are
// given with commas between them.
func splitScopes(scopes []string) []string {
	var out []string
	for _, scope := range scopes {
		out = append(out, strings.Split(scope, ",")...)
	}
	return out
}

func checkAccount(a account) error {
	if err := checkID("an id", a.ID); err != nil {
		return err
	}
	if err := checkID("a name", a.Name); err != nil {
		return err
	}
	if err := checkNamespace(a.Namespace); err != nil {
		return err
	}
	if a.Type != identity.User && a.Type != identity.Service {
		return errors.New(codes.InvalidArgument, "type must be %q or %q", identity.User, identity.Service)
	}
	if len(a.Scopes) > maxScopes {
		return errors.New(codes.InvalidArgument, "an account may have %d scopes, these are %d", maxScopes, len(a.Scopes))
	}
	for _, scope := range a.Scopes {
		if err := checkScope(scope); err != nil {
			return err
		}
		if scope == "" || scope == "*" || scope == "+" || grants.IsRoleScope(scope) {
			return errors.New(codes.InvalidArgument, "scope %q cannot be given to an account", scope)
		}
	}
	size := 0
	for k, v := range a.Metadata {
		size += len(k) + len(v)
	}
	if len(a.Metadata) > maxPairs || size > maxMetadata {
		return errors.New(codes.InvalidArgument, "metadata may have %d pairs and %d bytes, this has %d and %d", maxPairs, maxMetadata, len(a.Metadata), size)
	}
	return checkLimits(a)
}

func checkScope(scope string) error {
	bad := func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == ',' }
	if len(scope) > maxScope || strings.ContainsFunc(scope, bad) {
		return errors.New(codes.InvalidArgument, "a scope must have at most %d bytes, no spaces and no commas", maxScope)
	}
	return nil
}

func checkAPIToken(req *authpb.CreateTokenRequest) error {
	name := req.GetName()
	if name == "" || len(name) > maxScope {
		return errors.New(codes.InvalidArgument, "name must have 1 to %d bytes", maxScope)
	}
	if err := checkID("name", name); err != nil {
		return err
	}
	switch longest := int64(maxAPILife.Seconds()); {
	case req.GetNeverExpires() && req.GetExpiresIn() != 0:
		return errors.New(codes.InvalidArgument, "expires_in must not be given with never_expires")
	case req.GetExpiresIn() < 0 || req.GetExpiresIn() > longest:
		return errors.New(codes.InvalidArgument, "expires_in must be 1 to %d seconds, or 0 for %d days", longest, int(apiLife.Hours()/24))
	}
	return checkGrants(req.GetGrants())
}

// checkGrants bounds what becomes part of each access token, too.
func checkGrants(list []string) error {
	if len(list) == 0 || len(list) > maxScopes {
		return errors.New(codes.InvalidArgument, "grants must have 1 to %d entries such as notes:*:read, this has %d", maxScopes, len(list))
	}
	size := 0
	for _, text := range list {
		if _, err := grants.Parse(text); err != nil {
			return errors.New(codes.InvalidArgument, "grants: %q: %v", errors.Clip(text), err)
		}
		size += len(text)
	}
	if size > maxGrants {
		return errors.New(codes.InvalidArgument, "grants may have %d bytes together, these have %d", maxGrants, size)
	}
	return nil
}

// checkRule speaks as existing clients know it.
func checkRule(r *authpb.Rule) error {
	switch {
	case r == nil:
		return errors.New(codes.InvalidArgument, "Rule missing")
	case r.GetId() == "":
		return errors.New(codes.InvalidArgument, "ID missing")
	case r.GetResource() == nil:
		return errors.New(codes.InvalidArgument, "Resource missing")
	case r.GetAccess() == authpb.Access_UNKNOWN:
		return errors.New(codes.InvalidArgument, "Access missing")
	case r.GetAccess() != authpb.Access_GRANTED && r.GetAccess() != authpb.Access_DENIED:
		return errors.New(codes.InvalidArgument, "access is %d: GRANTED (1) and DENIED (2) are possible", r.GetAccess())
	}
	if err := checkID("an id", r.GetId()); err != nil {
		return err
	}
	if err := checkScope(r.GetScope()); err != nil {
		return err
	}
	if kind := r.GetResource().GetType(); kind != "*" && !strings.EqualFold(kind, "service") {
		return errors.New(codes.InvalidArgument, "resource type is %q: service and * are possible", errors.Clip(kind))
	}
	for _, part := range [][2]string{{"name", r.GetResource().GetName()}, {"endpoint", r.GetResource().GetEndpoint()}} {
		if part[1] == "" || len(part[1]) > maxPart || strings.ContainsFunc(part[1], unprintable) {
			return errors.New(codes.InvalidArgument, "resource %s must have 1 to %d bytes and no control characters; * stands for any", part[0], maxPart)
		}
	}
	return nil
}
