package identity

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
)

// Platform is the namespace of the server's operators.
const Platform = "micro"

// The types of account.
const (
	User      = "user"      // a person
	Service   = "service"   // a deployed revision, or a program
	Component = "component" // a part of the platform
)

// Caller is a verified account.
type Caller struct {
	ID        string
	Name      string
	Type      string
	Namespace string // the issuer of its token
	Scopes    []string
	Metadata  map[string]string
	KeyID     string
	Epoch     int64          // of the account when the token was issued
	Session   string         // the login or API token that the token descends from
	Grants    []grants.Grant // what an API token is limited to; see Limited
	Issued    time.Time
	Expires   time.Time

	// Token is the signed token itself, to pass on. Never log it.
	Token string
}

// Has says whether the caller has a scope.
func (c Caller) Has(scope string) bool { return slices.Contains(c.Scopes, scope) }

// Admin says whether the caller may change its own namespace: a person with
// scope admin, or a program of an admin's with scope service. A revision is not:
// what it runs is the word of whoever deployed it, who need not be one.
func (c Caller) Admin() bool {
	return c.Type == User && c.Has("admin") || c.Type == Service && c.Has("service") && !c.Deployed()
}

// Deployed says whether the caller is a deployed revision. The runtime describes
// it in the account that it makes, and nothing changes that.
func (c Caller) Deployed() bool { return c.Type == Service && c.Metadata["revision"] != "" }

// Role answers what the caller is as a member of its namespace, or "" for an
// account that is no member: only its scopes count then.
func (c Caller) Role() grants.Role {
	switch {
	case c.Deployed():
		return grants.Deployed
	case c.Type != User:
		return ""
	}
	return grants.RoleIn(c.Scopes)
}

// Limited says whether the caller came with an API token. Edges hold it to its
// grants.
func (c Caller) Limited() bool { return len(c.Grants) > 0 }

// Operator says whether the caller may act on other namespaces by naming them:
// an admin of the platform's namespace who is a person and has logged in. An
// API token, which may lie about somewhere, never opens all namespaces.
func (c Caller) Operator() bool {
	return c.Namespace == Platform && c.Type == User && c.Has("admin") && !c.Limited()
}

// IsComponent says whether the caller is a part of the platform.
func (c Caller) IsComponent() bool { return c.Namespace == Platform && c.Type == Component }

type callerKey struct{}

type componentKey struct{}

// With answers a context that carries a verified caller.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// From answers the caller of a request; false means anonymous.
func From(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// AsComponent answers a context whose calls go out under this component's own
// name instead of the caller's. Use it where the platform itself decides.
func AsComponent(ctx context.Context) context.Context {
	return context.WithValue(ctx, componentKey{}, true)
}

// CallsAsComponent says whether AsComponent was used.
func CallsAsComponent(ctx context.Context) bool {
	is, _ := ctx.Value(componentKey{}).(bool)
	return is
}

// Require answers the caller, or Unauthenticated.
func Require(ctx context.Context) (Caller, error) {
	c, ok := From(ctx)
	if !ok {
		return c, errors.New(codes.Unauthenticated, `an account is required: log in with "micro login", or send an API token`).For(TokenMissing)
	}
	return c, nil
}

// Member answers the namespace that a request means, for a caller who belongs
// to it. Empty and "micro" mean the caller's own. Operators and components may
// name any; for others another name is PermissionDenied, the same whether that
// namespace exists or not.
func Member(ctx context.Context, requested string) (string, error) {
	c, err := Require(ctx)
	if err != nil {
		return "", err
	}
	if requested == "" || requested == c.Namespace {
		return c.Namespace, nil
	}
	if c.Operator() || c.IsComponent() {
		return requested, nil
	}
	if requested == Platform {
		return c.Namespace, nil
	}
	return "", NoAccess(requested, c.Namespace)
}

// NoAccess refuses somebody who names another namespace than its own, whether
// that exists or not.
func NoAccess(requested, own string) error {
	return errors.New(codes.PermissionDenied, "no access to namespace %q: the account belongs to %q, name that or none; to work in another, log in to it",
		errors.Clip(requested), own).For(WrongNamespace)
}

type admittedKey struct{}

// Admit holds a member to its role: at an edge, and again in the component that
// serves the method. Where the role allows a call, Admin passes it.
func Admit(ctx context.Context, c Caller, service, endpoint string) (context.Context, error) {
	role := c.Role()
	switch {
	case role == "":
		return ctx, nil
	case role.May(service, endpoint):
		return context.WithValue(ctx, admittedKey{}, true), nil
	case role == grants.Unenrolled:
		return ctx, errors.New(codes.PermissionDenied,
			"namespace %q wants a second factor of its members, and %s has none: set one up with \"micro user 2fa enable\"", c.Namespace, c.ID).For(FactorMissing)
	case role == grants.Deployed:
		return ctx, errors.New(codes.PermissionDenied, "%s is a deployed revision of namespace %q, and may not call %s:%s: accounts, tokens, rules, members and budgets are changed by people",
			c.ID, c.Namespace, service, endpoint).For(RoleMissing)
	default:
		return ctx, errors.New(codes.PermissionDenied, "%s is %s of namespace %q, and may not call %s:%s: an owner or admin gives another role with \"micro namespace role\"",
			c.ID, role, c.Namespace, service, endpoint).For(RoleMissing)
	}
}

// Admin is Member for callers who may change the namespace, or whose role
// allows the method that was called: see Admit.
func Admin(ctx context.Context, requested string) (string, error) {
	ns, err := Member(ctx, requested)
	if err != nil {
		return "", err
	}
	admitted, _ := ctx.Value(admittedKey{}).(bool)
	if c, _ := From(ctx); !c.Admin() && !c.IsComponent() && !admitted {
		return "", errors.New(codes.PermissionDenied, "account %q may not change namespace %q: it needs the scope admin, or service for a service; its admins are shown by \"micro auth list accounts\"", c.ID, ns).For(RoleMissing)
	}
	return ns, nil
}

// RequireLogin is Require for what nobody may do with an API token: to make
// credentials, which would outlive it and know none of its limits.
func RequireLogin(ctx context.Context) (Caller, error) {
	c, err := Require(ctx)
	if err != nil {
		return c, err
	}
	if c.Limited() {
		return c, errors.New(codes.PermissionDenied, "this cannot be done with an API token: log in with \"micro login\"").For(LoginRequired)
	}
	return c, nil
}

// RequireComponent refuses everybody but the platform's own components.
func RequireComponent(ctx context.Context) error {
	c, err := Require(ctx)
	if err != nil {
		return err
	}
	if !c.IsComponent() {
		return errors.New(codes.PermissionDenied, "this method is for the platform's components only").For(PlatformOnly)
	}
	return nil
}
