package edge

import (
	"context"
	"crypto/rand"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
)

// The keys of metadata that edges set and that no client can.
const (
	namespaceKey = "micro-namespace"
	// RequestIDKey is the id of a request. Clients may propose one.
	RequestIDKey = "micro-request-id"
)

// authenticate answers the caller, or nil for an anonymous one. A bad token
// makes the caller anonymous, and the reason is remembered: old clients send
// theirs along when they ask for a new one.
func (e *Edge) authenticate(ctx context.Context, md metadata.MD, from string) (*identity.Caller, *badToken, error) {
	if err := e.trust.check(); err != nil {
		return nil, nil, err
	}
	token, err := bearer(md)
	if err != nil || token == "" {
		return nil, nil, err
	}
	if !isAPIToken(token) {
		return e.verify(ctx, token)
	}
	access, refusal, err := e.exchange.access(ctx, token, "", from)
	if err != nil || refusal != nil {
		return nil, refusal, err
	}
	caller, wrong, err := e.verify(ctx, access)
	if wrong == nil {
		return caller, nil, err
	}
	// What was kept is no good any more; what stands for the token now may be: its
	// account's password has changed, or a key was retired.
	if access, refusal, err = e.exchange.access(ctx, token, access, from); err != nil || refusal != nil {
		return nil, refusal, err
	}
	return e.verify(ctx, access)
}

// Identify answers whose a request is, for what an edge does with it before it
// admits the call: nil is an anonymous caller's. Why is in err if it has a token.
func (e *Edge) Identify(ctx context.Context, r Request) (caller *identity.Caller, err error) {
	caller, wrong, err := e.authenticate(ctx, r.Metadata, r.Origin.Address)
	if wrong != nil {
		return nil, errors.New(codes.Unauthenticated, "%s", wrong.text).For(wrong.reason).From("go.micro.proxy")
	}
	return caller, err
}

// verify answers whose an access token is.
func (e *Edge) verify(ctx context.Context, token string) (*identity.Caller, *badToken, error) {
	caller, err := e.verifier.Load().Verify(ctx, token)
	switch {
	case errors.Is(err, identity.ErrExpired), errors.Is(err, identity.ErrInvalid):
		return nil, bad(err), nil
	case err != nil:
		return nil, nil, errors.New(codes.Unavailable, "the token could not be checked, try again").Because(err)
	case caller.Type == identity.Component: // these never leave the platform
		return nil, bad(identity.ErrInvalid), nil
	}
	revoked, err := e.admitted.revoked(ctx, caller)
	if err != nil {
		return nil, nil, err
	}
	if revoked {
		return nil, revokedToken, nil
	}
	return &caller, nil, nil
}

func bearer(md metadata.MD) (string, error) {
	values := md.Get("authorization")
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", errors.New(codes.InvalidArgument, "one Bearer Authorization header expected, got %d", len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", errors.New(codes.Unauthenticated, "invalid authorization header. expected Bearer schema: send \"Authorization: Bearer TOKEN\"").For(identity.HeaderInvalid)
	}
	return strings.TrimSpace(token), nil
}

// namespace answers the namespace that a call works in. The token decides;
// what the client asks for decides only for those without one, and for
// operators. Old clients write "micro" whatever they mean.
func namespace(c *identity.Caller, md metadata.MD) (string, error) {
	requested := ""
	if values := md.Get(namespaceKey); len(values) > 0 {
		requested = values[0]
	}
	for _, v := range md.Get(namespaceKey) {
		if v != requested {
			return "", errors.New(codes.InvalidArgument, "one %s header expected", namespaceKey)
		}
	}
	switch {
	case c == nil && requested == "":
		return identity.Platform, nil
	case c == nil:
		return requested, nil
	case requested == "", requested == c.Namespace, requested == identity.Platform && !c.Operator():
		return c.Namespace, nil
	case c.Operator():
		return requested, nil
	}
	return "", identity.NoAccess(requested, c.Namespace)
}

// passed are the keys that begin with "micro-" and that mean nothing to the
// platform. The rest of them never comes from outside.
var passed = map[string]bool{"micro-trace-id": true, "micro-span-id": true, "micro-database": true, "micro-table": true, "micro-topic": true}

// dropped are keys of the hop before, which the next one has its own of, and
// what proxies of the web claim about the client.
var dropped = map[string]bool{
	"authorization": true, "timeout": true, "content-type": true, "user-agent": true, "te": true, "connection": true,
	"keep-alive": true, "proxy-connection": true, "proxy-authorization": true, "transfer-encoding": true, "upgrade": true, "trailer": true,
	"host": true, "cookie": true, "forwarded": true, "x-real-ip": true,
}

// forwarded is the metadata that goes on to the callee.
func forwarded(c *Call, r Request) metadata.MD {
	out := make(metadata.MD, len(r.Metadata)+4)
	for k, values := range r.Metadata {
		k = strings.ToLower(k)
		if dropped[k] || strings.HasPrefix(k, ":") || strings.HasPrefix(k, "grpc-") || strings.HasPrefix(k, "x-forwarded-") ||
			strings.HasPrefix(k, "micro-") && !passed[k] {
			continue
		}
		out[k] = values
	}
	out.Set(namespaceKey, c.Namespace)
	out.Set(RequestIDKey, c.ID)
	origin := r.Origin
	if c.target.component == nil {
		origin.Address = "" // it is nobody's business but the platform's
	}
	origin.Set(out)
	// An operator's token is not for the code of other namespaces.
	if c.Caller != nil && (c.target.component != nil || c.Caller.Namespace == c.Namespace) {
		out.Set("authorization", "Bearer "+c.Caller.Token)
	}
	return out
}

// RequestID takes the id that a client proposes, if it is a harmless one, or
// makes one.
func RequestID(proposed string) string {
	if harmless(proposed) {
		return proposed
	}
	return rand.Text()
}

func requestID(md metadata.MD) string {
	if v := md.Get(RequestIDKey); len(v) == 1 {
		return RequestID(v[0])
	}
	return RequestID("")
}

func harmless(id string) bool {
	for _, r := range id {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return len(id) > 0 && len(id) <= 64
}
