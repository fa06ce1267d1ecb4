package gateway

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
)

// writeError writes an error in the shape of the contract.
func writeError(w http.ResponseWriter, err error) {
	e := *errors.FromError(err)
	if e.HTTP < 200 || e.HTTP > 599 {
		e.HTTP, e.Status = http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError)
	}
	switch e.HTTP {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close")
	}
	write(w, int(e.HTTP), encode(&e))
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
