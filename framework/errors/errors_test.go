package errors

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	err := New(codes.NotFound, "not found").From("store.Store.Read")
	if got, want := err.JSON(), `{"id":"store.Store.Read","code":404,"detail":"not found","status":"Not Found"}`; got != want {
		t.Errorf("JSON = %s, want %s", got, want)
	}
}

// TestOverTheWire shows that a caller gets back what a handler returned, with
// the gRPC code, and without the cause.
func TestOverTheWire(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		err    error
		code   codes.Code
		http   int32
		detail string
	}{
		{"by code", New(codes.PermissionDenied, "no access to %q", "x").Because(fmt.Errorf("secret")), codes.PermissionDenied, 403, `no access to "x"`},
		{"by status", Conflict("notes", "note %d is there", 1), codes.AlreadyExists, 409, "note 1 is there"},
		{"a status without a code", NewHTTP(413, "too large"), codes.ResourceExhausted, 413, "too large"},
		{"not ours", status.Error(codes.Unavailable, "connection refused"), codes.Unavailable, 503, "connection refused"},
		{"plain", fmt.Errorf("oops"), codes.Unknown, 500, "oops"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			received := status.Convert(tt.err).Err()
			if got := Code(received); got != tt.code {
				t.Errorf("Code = %v, want %v", got, tt.code)
			}
			if e := FromError(received); e.HTTP != tt.http || e.Detail != tt.detail {
				t.Errorf("FromError = %d %q, want %d %q", e.HTTP, e.Detail, tt.http, tt.detail)
			}
		})
	}
	if FromError(nil) != nil || Code(nil) != codes.OK {
		t.Error("nil is an error")
	}
}
