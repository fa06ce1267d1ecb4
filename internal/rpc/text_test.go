package rpc

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	platform "github.com/micro/platform/framework/errors"
	registrypb "github.com/micro/platform/proto/registry"
)

// TestNUL shows that a private error becomes the caller's when a text has a byte
// that Postgres refuses, and no other error does.
func TestNUL(t *testing.T) {
	t.Parallel()
	private := errors.New("find: invalid byte sequence")
	decided := platform.New(codes.NotFound, "no such service")
	for _, tt := range []struct {
		name  string
		err   error
		req   proto.Message
		field string // "" for the error as it was
	}{
		{"a text", private, &registrypb.GetRequest{Service: "a\x00"}, "service"},
		{"a text in a message", private, &registrypb.GetRequest{Service: "a", Options: &registrypb.Options{Domain: "\x00"}}, "options.domain"},
		{"a value of a map", private, &registrypb.Service{Metadata: map[string]string{"a": "\x00"}}, `metadata["a"]`},
		{"none", private, &registrypb.GetRequest{Service: "a"}, ""},
		{"an error for the caller", decided, &registrypb.GetRequest{Service: "\x00"}, ""},
		{"no error", nil, &registrypb.GetRequest{Service: "\x00"}, ""},
	} {
		err := blame(tt.err, tt.req)
		if tt.field == "" {
			if err != tt.err {
				t.Errorf("%s: %v, want it unchanged", tt.name, err)
			}
			continue
		}
		if e := platform.FromError(err); platform.Code(err) != codes.InvalidArgument || !strings.Contains(e.Detail, strings.ReplaceAll(tt.field, `"`, `\"`)) {
			t.Errorf("%s: %v, want InvalidArgument about %s", tt.name, err, tt.field)
		}
	}
}
