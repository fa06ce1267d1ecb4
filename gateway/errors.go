package gateway

import (
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/proxy/edge"
)

// writeError writes an error in the shape of the contract.
func writeError(w http.ResponseWriter, err error) {
	e := *errors.FromError(err)
	if e.HTTP < 200 || e.HTTP > 599 {
		e.HTTP, e.Status = http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError)
	}
	switch e.HTTP {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", challenge(&e))
	case http.StatusForbidden:
		if e.Reason == identity.TokenScope {
			w.Header().Set("WWW-Authenticate", challenge(&e))
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close")
	}
	for name, value := range edge.Headers(err) {
		w.Header()[name] = []string{value}
	}
	if e.Reason != "" {
		w.Header().Set("Micro-Reason", e.Reason)
		e.Reason = ""
	}
	write(w, int(e.HTTP), encode(&e))
}

// challenge says what a client must do to be let in, by RFC 6750.
func challenge(e *errors.Error) string {
	kind := ""
	switch e.Reason {
	case identity.TokenInvalid, identity.TokenExpired, identity.TokenRevoked:
		kind = "invalid_token"
	case identity.TokenScope:
		kind = "insufficient_scope"
	case identity.HeaderInvalid:
		kind = "invalid_request"
	default:
		return `Bearer realm="micro"`
	}
	return fmt.Sprintf(`Bearer realm="micro", error=%q, error_description="%s"`, kind, description(e.Detail))
}

// description is a text in the characters that an error_description may have.
func description(detail string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '\\':
			return '\''
		case r < 0x20 || r > 0x7e:
			return ' '
		}
		return r
	}, detail)
}

// translate makes answers of gRPC itself, which know no HTTP status, what HTTP
// clients expect: a method that does not exist is not found, and a message that
// the callee could not read is a bad request.
func translate(err error) error {
	e := errors.FromError(err)
	if e.ID != "go.micro.client" {
		return err
	}
	s, _ := status.FromError(err)
	switch {
	case s.Code() == codes.Unimplemented:
		return errors.NewHTTP(http.StatusNotFound, "%s", e.Detail).From(e.ID)
	case strings.HasPrefix(e.Detail, "grpc: error unmarshalling request"), strings.HasPrefix(e.Detail, "grpc: failed to unmarshal"):
		return errors.New(codes.InvalidArgument, "%s", e.Detail).From(e.ID)
	}
	return err
}

// notAdmitted puts what the Edge says of a call that it did not let in into the
// words of the HTTP API, which has its own for a service that there is not.
func notAdmitted(err error) error {
	e := errors.FromError(err)
	_, rest, ok := strings.Cut(e.Detail, ": route not found")
	if !ok || e.HTTP != http.StatusNotFound {
		return translate(err)
	}
	return errors.New(codes.NotFound, "service not found%s", rest).From("go.micro.api")
}

// restError puts what the decoder of protobuf says into our words.
func restError(err error) error {
	e := errors.FromError(err)
	text, ok := strings.CutPrefix(strings.ReplaceAll(e.Detail, "\u00a0", " "), "proto: ")
	if e.ID != "go.micro.client" || !ok {
		return translate(err)
	}
	if place, rest, ok := strings.Cut(text, "): "); ok && strings.HasPrefix(place, "(") || strings.HasPrefix(place, "syntax") {
		text = rest
	}
	return badRequest("%s", text)
}

func badRequest(format string, args ...any) error {
	return errors.New(codes.InvalidArgument, format, args...).From("go.micro.api")
}

func tooLarge(limit int64) error {
	return errors.NewHTTP(http.StatusRequestEntityTooLarge, "body larger than %d bytes", limit).From("go.micro.api")
}
