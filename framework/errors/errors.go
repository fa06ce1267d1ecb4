// Package errors has the one error type of Micro: what a handler returns when
// it means to tell the caller something, and what a caller gets back.
//
// On the wire it is the JSON object of the Micro contract, as the message of a
// gRPC status and as the body of an HTTP answer:
//
//	{"id":"notes.Notes.Read","code":404,"detail":"no note \"x\"","status":"Not Found"}
//
// A plain Go error is private: the caller sees "internal error".
package errors

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is a decision to tell the caller something. Make one with New or with
// one of the functions named after HTTP statuses.
type Error struct {
	// ID says where it came from: "notes.Notes.Read". The server fills it in
	// when it is empty.
	ID string `json:"id"`
	// HTTP is the status of the HTTP answer.
	HTTP int32 `json:"code"`
	// Detail is written for a person.
	Detail string `json:"detail"`
	// Status is the reason phrase of HTTP.
	Status string `json:"status"`
	// Reason is a word for programs, where a call was refused. Clients get it
	// beside the error, as Micro-Reason.
	Reason string `json:"reason,omitempty"`

	code  codes.Code
	cause error
}

// New makes an error with a gRPC code and a message for a person.
func New(code codes.Code, format string, args ...any) *Error {
	return withHTTP(httpStatus(code), code, format, args...)
}

// NewHTTP makes an error with an HTTP status that no gRPC code stands for, such
// as 413.
func NewHTTP(status int, format string, args ...any) *Error {
	return withHTTP(status, grpcCode(status), format, args...)
}

func withHTTP(status int, code codes.Code, format string, args ...any) *Error {
	detail := format
	if len(args) > 0 {
		detail = fmt.Sprintf(format, args...)
	}
	return &Error{HTTP: int32(status), Detail: detail, Status: statusText(status), code: code}
}

// Because answers the error with what caused it, for the log. The caller never
// sees it. Like For and From it leaves the error itself as it is, which may be
// a variable or belong to several callers.
func (e *Error) Because(cause error) *Error {
	out := *e
	out.cause = cause
	return &out
}

// For answers the error with a reason, a word that programs may compare.
func (e *Error) For(reason string) *Error {
	out := *e
	out.Reason = reason
	return &out
}

// From answers the error with where it came from, unless that is known.
func (e *Error) From(id string) *Error {
	out := *e
	if out.ID == "" {
		out.ID = id
	}
	return &out
}

// Error is the detail.
func (e *Error) Error() string { return e.Detail }

// Unwrap answers what Because was given.
func (e *Error) Unwrap() error { return e.cause }

// JSON is the object that goes over the wire.
func (e *Error) JSON() string {
	b, err := json.Marshal(e)
	if err != nil { // strings and a number always marshal
		panic(err)
	}
	return string(b)
}

// GRPCStatus makes an Error a status to google.golang.org/grpc. It never has
// details: old clients cannot decode types that they were not built with.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.grpc(), e.JSON()) }

func (e *Error) grpc() codes.Code {
	if e.code == codes.OK {
		return grpcCode(int(e.HTTP))
	}
	return e.code
}

// Parse reads the JSON object of an error. Text that is none becomes a 500
// with that text as the detail.
func Parse(text string) *Error {
	var e Error
	if json.Unmarshal([]byte(text), &e) == nil && e.HTTP > 0 {
		e.code = grpcCode(int(e.HTTP))
		return &e
	}
	return &Error{ID: "go.micro.client", HTTP: http.StatusInternalServerError, Detail: text,
		Status: http.StatusText(http.StatusInternalServerError), code: codes.Internal}
}

// FromError answers the Error in err, or what it carries over the wire: a
// status whose message is the JSON object, or any other status. It is nil when
// err is nil.
func FromError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	s, ok := status.FromError(err)
	if !ok {
		return Parse(err.Error())
	}
	e = Parse(s.Message())
	if e.ID == "go.micro.client" && e.Detail == s.Message() { // not ours: keep its code
		e.code, e.HTTP = s.Code(), int32(httpStatus(s.Code()))
		e.Status = statusText(int(e.HTTP))
	}
	return e
}

// Code answers the gRPC code of an error on either side of the wire: OK for
// nil, Unknown for a plain error.
func Code(err error) codes.Code {
	var e *Error
	if errors.As(err, &e) {
		return e.grpc()
	}
	return status.Code(err)
}

// maxClipped is how much of what a caller wrote an error repeats, in bytes.
const maxClipped = 64

// Clip shortens what a caller wrote to what an error may repeat of it.
func Clip(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= maxClipped {
		return s
	}
	return strings.ToValidUTF8(s[:maxClipped], "")
}

// Is is the standard library's, so that one import is enough.
func Is(err, target error) bool { return errors.Is(err, target) }

// As is the standard library's.
func As(err error, target any) bool { return errors.As(err, target) }

// Join is the standard library's.
func Join(errs ...error) error { return errors.Join(errs...) }

// The functions below make errors by HTTP status, with the ID first, as Micro
// services are used to.

// BadRequest is 400, InvalidArgument.
func BadRequest(id, format string, args ...any) error { return byHTTP(id, 400, format, args) }

// Unauthorized is 401, Unauthenticated.
func Unauthorized(id, format string, args ...any) error { return byHTTP(id, 401, format, args) }

// Forbidden is 403, PermissionDenied.
func Forbidden(id, format string, args ...any) error { return byHTTP(id, 403, format, args) }

// NotFound is 404.
func NotFound(id, format string, args ...any) error { return byHTTP(id, 404, format, args) }

// MethodNotAllowed is 405, Unimplemented.
func MethodNotAllowed(id, format string, args ...any) error { return byHTTP(id, 405, format, args) }

// Timeout is 408, DeadlineExceeded.
func Timeout(id, format string, args ...any) error { return byHTTP(id, 408, format, args) }

// Conflict is 409, AlreadyExists.
func Conflict(id, format string, args ...any) error { return byHTTP(id, 409, format, args) }

// InternalServerError is 500, Internal. Its detail is shown to the caller.
func InternalServerError(id, format string, args ...any) error { return byHTTP(id, 500, format, args) }

// NotImplemented is 501, Unimplemented.
func NotImplemented(id, format string, args ...any) error { return byHTTP(id, 501, format, args) }

// ServiceUnavailable is 503, Unavailable.
func ServiceUnavailable(id, format string, args ...any) error { return byHTTP(id, 503, format, args) }

func byHTTP(id string, status int, format string, args []any) error {
	return NewHTTP(status, format, args...).From(id)
}
