package edge

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/quota"
	"github.com/micro/platform/internal/rules"
)

// ReasonKey is the key of an answer's metadata that says, in one word of
// package identity, why a call was refused.
const ReasonKey = "micro-reason"

// badToken is why a caller is anonymous although there was a token.
type badToken struct{ reason, text string }

const again = `log in again with "micro login"`

// bad puts what is wrong with a token into words for its holder.
func bad(err error) *badToken {
	switch {
	case errors.Is(err, identity.ErrExpired):
		return &badToken{identity.TokenExpired, err.Error() + ", " + again}
	case errors.Is(err, identity.ErrEarly): // another would be no better
		return &badToken{identity.TokenInvalid, err.Error()}
	}
	return &badToken{identity.TokenInvalid, "token invalid, " + again + ": it is damaged, or was not issued by this server"}
}

var revokedToken = &badToken{identity.TokenRevoked, "token revoked, " + again}

// unauthorized refuses a call that wants an account. It says the same whatever
// the namespace has.
func (c *Call) unauthorized() error {
	text, reason := `token missing: log in with "micro login", or send "Authorization: Bearer TOKEN"`, identity.TokenMissing
	if c.badToken != nil {
		text, reason = c.badToken.text, c.badToken.reason
	}
	return errors.New(codes.Unauthenticated, "Unauthorized call made to %s:%s: %s", c.Service, c.Endpoint, text).For(reason).From(c.Service)
}

// forbidden refuses an account of the namespace itself, which may know of the
// namespace's rules.
func (c *Call) forbidden(d rules.Decision) error {
	return errors.New(codes.PermissionDenied, `Forbidden call made to %s:%s by %s: %s; an admin of the namespace sees the rules with "micro auth explain %s %s %s"`,
		c.Service, c.Endpoint, c.Caller.ID, d.Reason, c.Caller.ID, c.Service, c.Endpoint).For(identity.RuleDenied).From(c.Service)
}

// granted holds an API token to its grants, those for the platform's own
// methods included.
func (c *Call) granted() error {
	if c.Caller == nil || !c.Caller.Limited() || grants.Allow(c.Caller.Grants, c.Service, c.Endpoint) {
		return nil
	}
	has := errors.Clip(strings.Join(grants.Texts(c.Caller.Grants), ", "))
	access := "write"
	if grants.Reads(c.Service, c.Endpoint) {
		access = "read"
	}
	if c.Caller.Type == identity.Service {
		return errors.New(codes.PermissionDenied, `Forbidden call made to %s:%s by %s: it was deployed with an API token that grants %s only; deploy it with one that has --grant %s:%s:%s too, or after "micro login"`,
			c.Service, c.Endpoint, c.Caller.ID, has, c.Service, c.Endpoint, access).For(identity.TokenScope).From(c.Service)
	}
	return errors.New(codes.PermissionDenied, `Forbidden call made to %s:%s by %s: the API token grants %s only; make one with "micro auth token create NAME --grant %s:%s:%s"`,
		c.Service, c.Endpoint, c.Caller.ID, has, c.Service, c.Endpoint, access).For(identity.TokenScope).From(c.Service)
}

// permitted holds a member of a namespace to its role.
func (c *Call) permitted(ctx context.Context) error {
	if c.Caller == nil {
		return nil
	}
	_, err := identity.Admit(ctx, *c.Caller, c.Service, c.Endpoint)
	if err == nil {
		return nil
	}
	return errors.FromError(err).From(c.Service)
}

// explain turns an error of the call into what its caller sees. A refusal for
// want of an account says what was wrong with the token.
func (c *Call) explain(err error) error {
	if err == nil {
		return nil
	}
	e := errors.FromError(err)
	ours := e.ID == "go.micro.client" // gRPC's words, not the callee's
	if c.opened != nil {
		if why := c.opened.why.Load(); why != nil {
			return why
		}
	}
	switch code := errors.Code(err); {
	case code == codes.Unauthenticated && c.badToken != nil && !strings.Contains(e.Detail, c.badToken.text):
		what, _, _ := strings.Cut(e.Detail, ": log in") // what is wrong with the token says how
		return errors.New(codes.Unauthenticated, "%s: %s", what, c.badToken.text).For(c.badToken.reason).From(e.ID)
	case code == codes.Unavailable && (notConnected(e.Detail) || ours && c.Platform() && !brokeOff(e.Detail)):
		return errors.New(codes.Unavailable, "service %s: no instance is reachable", c.Service).From("go.micro.client").Because(err)
	case code == codes.Unavailable && brokeOff(e.Detail):
		return errors.New(codes.Unavailable, "service %s: its instance ended during the call", c.Service).From("go.micro.client").Because(err)
	case code == codes.DeadlineExceeded && ours:
		return errors.New(codes.DeadlineExceeded, "context deadline exceeded").From("go.micro.client")
	case code == codes.ResourceExhausted && ours && strings.Contains(e.Detail, "larger than max"):
		return errTooLarge().Because(err)
	case code == codes.Internal && ours && c.Platform() && strings.HasPrefix(e.Detail, "grpc: failed to unmarshal"):
		// A stream's message: gRPC answers that before the component can.
		return errors.New(codes.InvalidArgument, "cannot decode the request: %s", e.Detail).From("go.micro.client")
	}
	return err
}

// refusedWith is explain, with the limit in it that a component has named beside its
// refusal. A tenant's service names none.
func (c *Call) refusedWith(err error, trailer metadata.MD) error {
	err = c.explain(err)
	more := relayed{}
	for _, name := range limitHeaders {
		if v := trailer.Get(name); len(v) == 1 && c.Platform() {
			more[name] = v[0]
		}
	}
	if len(more) == 0 {
		return err
	}
	return errors.FromError(err).Because(more)
}

// limitHeaders are what quota.Headers answers.
var limitHeaders = []string{"Retry-After", "RateLimit", "RateLimit-Policy"}

// relayed are the headers that a component has sent beside a refusal.
type relayed map[string]string

// Error implements error. It is for the log.
func (r relayed) Error() string { return "limit " + r["RateLimit-Policy"] }

// Headers answers what an error adds to an answer: when to try again, and which
// limit was met.
func Headers(err error) map[string]string {
	var r relayed
	if errors.As(err, &r) {
		return r
	}
	return quota.Headers(err)
}

// notConnected and brokeOff say whether an error is gRPC's own, before a call was
// sent to anybody or after. It has the address of a node, which is nobody's
// business.
func notConnected(detail string) bool { return strings.HasPrefix(detail, "connection error:") }

func brokeOff(detail string) bool {
	return strings.HasPrefix(detail, "error reading from server:") || strings.Contains(detail, "transport is closing")
}
