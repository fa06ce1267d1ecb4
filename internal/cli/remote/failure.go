package remote

import (
	"context"
	"regexp"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
)

// Exit codes of a call, as scripts know them.
const (
	ExitTimeout      = 1
	ExitUnauthorized = 2
	ExitBadMethod    = 3
	ExitUnreachable  = 4
	ExitNoMethod     = 5
	ExitError        = 127
	ExitOther        = 128
)

var (
	badMethod      = regexp.MustCompile(`malformed method name: "(.*?)"`)
	noRoute        = regexp.MustCompile(`service ([\w.-]+): route not found`)
	unknownService = regexp.MustCompile(`unknown (?:service|method) ([\w.-]+)`)
	dialFailed     = regexp.MustCompile(`^connection error: desc = "(?:transport: )?(.*)"$`)
)

// Explain turns what a call ended with into a text for a person and an exit
// code. The texts and codes are those of every Micro command line, with what
// to do next behind them.
func (s *Session) Explain(err error) (text string, exit int) {
	e := errors.FromError(err)
	if e == nil {
		return "", 0
	}
	if m := badMethod.FindStringSubmatch(e.Detail); m != nil {
		return `Method name "` + m[1] + `" invalid format. Expecting service.endpoint`, ExitBadMethod
	}
	if m := noRoute.FindStringSubmatch(e.Detail); m != nil {
		return `Service "` + m[1] + `" not found: "micro services" lists those that run`, ExitUnreachable
	}
	if m := unknownService.FindStringSubmatch(e.Detail); m != nil {
		if strings.Contains(m[1], ".") {
			return `Service method "` + m[1] + `" not found`, ExitNoMethod
		}
		return `Service "` + m[1] + `" not found`, ExitNoMethod
	}
	if reason, ok := unreachable(err); ok {
		return s.unreachable(reason), ExitUnreachable
	}
	switch {
	case e.HTTP == 408 || errors.Is(err, context.DeadlineExceeded):
		return "Request timed out", ExitTimeout
	case e.HTTP == 401:
		return "Not authorized to perform this request: " + s.unauthorized(e.Detail), ExitUnauthorized
	case fromMicro(err):
		return e.Detail, ExitError
	default:
		return e.Detail, ExitOther
	}
}

func (s *Session) unauthorized(detail string) string {
	switch {
	case s.Expired():
		return `your login has expired, run "micro login"`
	case !s.LoggedIn():
		return `you are not logged in, run "micro login" or "micro signup"`
	case s.fixed:
		return detail + " (with the token in MICRO_TOKEN)"
	default:
		return detail + `; if this should be allowed, run "micro login" again`
	}
}

func (s *Session) unreachable(reason string) string {
	text := "cannot reach " + s.login.Address + ": " + reason
	if strings.HasPrefix(s.login.Address, "127.0.0.1:") || strings.HasPrefix(s.login.Address, "localhost:") {
		return text + "\nStart a server with \"make run\" or \"micro server\", or choose another with \"micro env set NAME\"."
	}
	return text + "\n\"micro env\" shows which server is meant, \"micro env add NAME ADDRESS\" tells where one is."
}

// unreachable tells an address that does not answer from a platform that is in
// part away: the former is what gRPC itself says.
func unreachable(err error) (string, bool) {
	s, ok := status.FromError(err)
	if !ok || s.Code() != codes.Unavailable || fromMicro(err) {
		return "", false
	}
	reason := s.Message()
	if m := dialFailed.FindStringSubmatch(reason); m != nil {
		reason = m[1]
	}
	if _, after, ok := strings.Cut(reason, "error while dialing: "); ok {
		reason = after
	} else if _, after, ok := strings.Cut(reason, "Error while dialing: "); ok {
		reason = after
	}
	if strings.HasPrefix(reason, "name resolver error") {
		reason = "there is no host of that name"
	}
	return reason, true
}

// fromMicro says whether a Micro server made the error.
func fromMicro(err error) bool {
	var e *errors.Error
	if errors.As(err, &e) {
		return true
	}
	s, ok := status.FromError(err)
	return ok && strings.HasPrefix(s.Message(), "{") && errors.Parse(s.Message()).Detail != s.Message()
}
