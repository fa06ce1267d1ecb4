package tests

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/micro/platform/framework/errors"
)

// injections are texts that mean something to a database, a shell, a template, a
// path, a terminal or a parser.
var injections = []string{
	`'`, `' OR '1'='1`, `'; DROP TABLE auth.accounts; --`, `$1`, `%' UNION SELECT secret FROM auth.accounts --`, `\`, `{{.}}`, `${jndi:ldap://x}`, "`id`", `$(id)`,
	`../../../etc/passwd`, "\x00", "a\x00b", "\r\nSet-Cookie: a=b", "*", "[a-z]*", "?", "{}", "}{", `{"$gt":""}`, "\x1b[2J", "\u202e", "İ", "𐀀", "\u0000\uffff",
	"%s%n%d", "-1", "99999999999999999999", "NaN", "true", "null", "--help", "-rf", "a b", " ", "\t", strings.Repeat("a", 5000), strings.Repeat("é", 300), "\xff\xfe", "a\xc3",
}

// ackWait is a refusal with status 500, as clients of Micro know it.
const ackWait = "invalid AckWait passed, should be positive integer"

// TestInjection puts texts that mean something elsewhere into every text of every
// RPC (S11). None ends as an internal error, and what others have is as it was.
func TestInjection(t *testing.T) {
	t.Parallel()
	p := start(t, false, "MICRO_PROXY_ANONYMOUS_RATE=0")
	v := newVictim(t, p)
	before := v.snapshot(t)
	mallory := v.somebody(t, "mallory")
	var wg sync.WaitGroup
	busy := make(chan struct{}, 16)
	for _, r := range everyRPC() {
		if r.path == "/namespaces.Namespaces/Delete" { // it would, without one that is named
			continue
		}
		for _, text := range injections {
			for _, namespace := range []bool{false, true} {
				request := texts(r.method.Input(), text, namespace, 3)
				if len(request) == 0 {
					continue
				}
				busy <- struct{}{}
				wg.Go(func() {
					defer func() { <-busy }()
					err := mallory.send(t.Context(), r, request)
					code := errors.Code(err)
					if detail(err) == ackWait {
						return
					}
					if code == codes.Internal || code == codes.Unknown || code == codes.DataLoss {
						t.Errorf("%s with %q: %s %v", r.path, errors.Clip(text), code, detail(err))
					}
				})
			}
		}
	}
	wg.Wait()
	for r, was := range v.snapshot(t) {
		if was != before[r] {
			t.Errorf("the victim sees by %s\n%s, before\n%s", r, was, before[r])
		}
	}
}

// send makes a call with a request as bytes: gRPC's own client would not send
// text that is not UTF-8.
func (c caller) send(ctx context.Context, r rpcOf, request []byte) error {
	within := unaryWithin
	if r.streams() {
		within = streamWithin
	}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.token), within)
	defer cancel()
	s, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, r.path, grpc.ForceCodec(rawCodec{}))
	if err != nil {
		return err
	}
	if err := s.SendMsg(request); err != nil && err != io.EOF {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for {
		var rsp []byte
		err := s.RecvMsg(&rsp)
		switch {
		case err == io.EOF, err != nil && r.streams() && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// texts is a request in which every text is the same, those that name a
// namespace only if they are to.
func texts(d protoreflect.MessageDescriptor, text string, namespace bool, depth int) []byte {
	var out []byte
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		var value []byte
		switch {
		case !namespace && namespaces[string(f.Name())]:
			continue
		case f.Kind() == protoreflect.StringKind, f.Kind() == protoreflect.BytesKind:
			value = []byte(text)
		case f.Kind() == protoreflect.MessageKind && depth > 0: // an entry of a map is a message, too
			value = texts(f.Message(), text, namespace, depth-1)
		}
		if len(value) > 0 {
			out = protowire.AppendBytes(protowire.AppendTag(out, f.Number(), protowire.BytesType), value)
		}
	}
	return out
}

// rawCodec sends and takes bytes.
type rawCodec struct{}

// Name implements encoding.Codec.
func (rawCodec) Name() string { return "proto" }

// Marshal implements encoding.Codec.
func (rawCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }

// Unmarshal implements encoding.Codec.
func (rawCodec) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), b...)
	return nil
}
