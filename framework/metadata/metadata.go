// Package metadata reads what came with a call beside its message, and adds to
// what goes with the calls made next. Names are not case sensitive.
package metadata

import (
	"context"
	"net/textproto"

	"google.golang.org/grpc/metadata"
)

// Metadata is one value a name. Names are written as in HTTP: "Micro-Namespace".
type Metadata map[string]string

// FromContext answers what came with the call that is being handled.
func FromContext(ctx context.Context) (Metadata, bool) {
	in, ok := metadata.FromIncomingContext(ctx)
	if !ok {
		return nil, false
	}
	md := make(Metadata, len(in))
	for name, values := range in {
		if len(values) > 0 {
			md[textproto.CanonicalMIMEHeaderKey(name)] = values[0]
		}
	}
	return md, true
}

// Get answers one value of what came with the call that is being handled.
func Get(ctx context.Context, name string) (string, bool) {
	values := metadata.ValueFromIncomingContext(ctx, name)
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

// Set adds a value to the calls that are made with the context it answers. What
// came with the call that is being handled does not go on by itself, but for
// its authorization and its trace.
func Set(ctx context.Context, name, value string) context.Context {
	out, _ := metadata.FromOutgoingContext(ctx)
	out = out.Copy()
	out.Set(name, value)
	return metadata.NewOutgoingContext(ctx, out)
}
