package rpc

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"

	"github.com/micro/platform/framework/errors"
)

// blame makes a private error the caller's own if a text of the request has a
// NUL byte: Postgres takes none, and refuses the statement. It is looked for
// only then, so good calls do not pay for it.
func blame(err error, req any) error {
	m, ok := req.(proto.Message)
	if err == nil || !ok || errors.Code(err) != codes.Unknown {
		return err
	}
	if field := withNUL(m); field != "" {
		return errors.New(codes.InvalidArgument, "field %q has a NUL byte, which no text may have", field).Because(err)
	}
	return err
}

// withNUL answers the path of a text with a NUL byte, or "".
func withNUL(m proto.Message) string {
	var found string
	_ = protorange.Range(m.ProtoReflect(), func(v protopath.Values) error { // it ends early with an error of its own
		last := v.Index(-1)
		if s, ok := last.Value.Interface().(string); ok && strings.ContainsRune(s, 0) {
			found = strings.TrimPrefix(v.Path[1:].String(), ".")
			return protorange.Terminate
		}
		return nil
	})
	return found
}
