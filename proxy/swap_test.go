package proxy_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	authpb "github.com/micro/platform/proto/auth"
	_ "github.com/micro/platform/proto/broker" // every API is tried, also those that nobody serves
	_ "github.com/micro/platform/proto/builder"
	_ "github.com/micro/platform/proto/config"
	_ "github.com/micro/platform/proto/host"
	_ "github.com/micro/platform/proto/namespaces"
	_ "github.com/micro/platform/proto/runtime"
	_ "github.com/micro/platform/proto/scheduler"
	_ "github.com/micro/platform/proto/store"
	"github.com/micro/platform/proxy/edge/edgetest"
)

// TestSwapMatrix makes every RPC of every proto, with every way to name another
// namespace in metadata. None comes out of the edge with another namespace than
// the token's, or with an identity that the client made up. What a message
// says, components compare with the token themselves.
func TestSwapMatrix(t *testing.T) {
	t.Parallel()
	e := startCatching(t)
	token := e.User(t, "acme", "admin")
	swaps := []struct {
		name    string
		pairs   []string
		refused codes.Code
	}{
		{"own", []string{"micro-namespace", "acme"}, codes.OK},
		{"none", nil, codes.OK},
		{"empty", []string{"micro-namespace", ""}, codes.OK},
		{"micro", []string{"micro-namespace", "micro"}, codes.OK},
		{"other", []string{"micro-namespace", "other"}, codes.PermissionDenied},
		{"star", []string{"micro-namespace", "*"}, codes.PermissionDenied},
		{"upper case", []string{"micro-namespace", "ACME"}, codes.PermissionDenied},
		{"escaped look-alike", []string{"micro-namespace", "acm%D0%B5"}, codes.PermissionDenied},
		{"path", []string{"micro-namespace", "../other"}, codes.PermissionDenied},
		{"blank", []string{"micro-namespace", "other "}, codes.PermissionDenied},
		{"own and other", []string{"micro-namespace", "acme", "micro-namespace", "other"}, codes.InvalidArgument},
		{"other and own", []string{"micro-namespace", "other", "micro-namespace", "acme"}, codes.InvalidArgument},
		{"key in upper case", []string{"Micro-Namespace", "other"}, codes.PermissionDenied},
		{"made-up identity", []string{"micro-account", "root", "micro-issuer", "other", "micro-scopes", "admin", "micro-listener", "x"}, codes.OK},
	}
	for _, method := range allMethods() {
		for _, swap := range swaps {
			pairs := append(bearer(token), swap.pairs...)
			err := e.raw(t, method, pairs)
			seen := e.last()
			if swap.refused != codes.OK {
				if errors.Code(err) != swap.refused || seen != nil {
					t.Errorf("%s, %s: %v, and a component saw %v", method, swap.name, err, seen)
				}
				continue
			}
			if seen == nil {
				continue // not public: it stayed in the edge
			}
			for key, want := range map[string]string{"micro-namespace": "acme", "authorization": "Bearer " + token, "micro-account": "", "micro-issuer": "", "micro-scopes": "", "micro-listener": ""} {
				if got := strings.Join(seen.Get(key), "|"); got != want {
					t.Errorf("%s, %s: a component saw %s = %q, want %q", method, swap.name, key, got, want)
				}
			}
		}
	}
}

// TestPublicMethods shows which RPCs can be reached from outside at all. Who
// adds one decides here whether it is for people.
func TestPublicMethods(t *testing.T) {
	t.Parallel()
	e := startCatching(t)
	operator := bearer(e.User(t, "micro", "admin"))
	internal := map[string]bool{"builder.Builder": true, "scheduler.Scheduler": true, "host.Host": true, "registry.Nodes": true}
	unserved := map[string]bool{"debug": true}
	for _, method := range allMethods() {
		api := method[1:strings.LastIndex(method, "/")]
		component, _, _ := strings.Cut(api, ".")
		err := e.raw(t, method, operator)
		reached := e.last() != nil
		if want := !internal[api] && !unserved[component] && !strings.HasSuffix(api, ".Components"); reached != want {
			t.Errorf("%s reached a component: %v, want %v (%v)", method, reached, want, err)
		}
		refused := codes.Unimplemented
		if component == "host" { // tenants may call theirs so, and this one has none
			refused = codes.NotFound
		}
		if !reached && errors.Code(err) != refused {
			t.Errorf("%s = %v, want %v", method, err, refused)
		}
	}
}

// catching is an edge whose components remember what reaches them.
type catching struct {
	*edge
	seen chan metadata.MD
}

// last answers the metadata of the call that has just reached a component.
func (c *catching) last() metadata.MD {
	select {
	case md := <-c.seen:
		return md
	default:
		return nil
	}
}

// startCatching runs a proxy on a platform that has every API of every proto,
// each in the component of its name.
func startCatching(t *testing.T) *catching {
	t.Helper()
	c := &catching{seen: make(chan metadata.MD, 1)}
	catch := func(ctx context.Context) {
		md, _ := metadata.FromIncomingContext(ctx)
		if len(md.Get("micro-namespace")) == 0 {
			return // the edge's own calls
		}
		select {
		case c.seen <- md:
		default: // one is enough
		}
	}
	p := edgetest.New(t)
	p.Seen = catch
	p.Also = map[string]func(grpc.ServiceRegistrar){
		"auth": func(s grpc.ServiceRegistrar) {
			serve(s, catch, "auth.Accounts", "auth.Rules", "auth.Tokens", "auth.Passwords", "auth.Sessions", "auth.People", "auth.Factors", "auth.Providers", "auth.Passkeys", "auth.Devices")
		},
		"registry": func(s grpc.ServiceRegistrar) { serve(s, catch, "registry.Nodes") },
		"namespaces": func(s grpc.ServiceRegistrar) {
			serve(s, catch, "namespaces.Signup", "namespaces.Members", "namespaces.Invites", "namespaces.Namespaces", "namespaces.Plans", "namespaces.Archives", "namespaces.Imports")
		},
	}
	var others []app.Component
	for name, apis := range map[string][]string{
		"usage": {"usage.Usage", "usage.Budgets", "usage.Components"}, "audit": {"audit.Audit", "audit.Components"}, "runtime": {"runtime.Runtime", "runtime.Source", "runtime.Build"},
		"broker": {"broker.Broker"}, "config": {"config.Config"}, "events": {"events.Stream", "events.Store", "events.Topics", "events.Groups"}, "store": {"store.Store", "store.BlobStore"}, "network": {"network.Network"}, "builder": {"builder.Builder"}, "scheduler": {"scheduler.Scheduler"},
	} {
		others = append(others, edgetest.Component(name, func(s grpc.ServiceRegistrar) { serve(s, catch, apis...) }))
	}
	c.edge = startOn(t, p, others...)
	return c
}

// serve serves APIs whose methods answer with an empty message.
func serve(s grpc.ServiceRegistrar, catch func(context.Context), apis ...string) {
	for _, api := range apis {
		d := &grpc.ServiceDesc{ServiceName: api, HandlerType: (*any)(nil)}
		for _, method := range allMethods() {
			name, ok := strings.CutPrefix(method, "/"+api+"/")
			if !ok {
				continue
			}
			d.Streams = append(d.Streams, grpc.StreamDesc{StreamName: name, ServerStreams: true, ClientStreams: true, Handler: func(_ any, in grpc.ServerStream) error {
				catch(in.Context())
				return in.SendMsg(&authpb.ListKeysRequest{})
			}})
		}
		s.RegisterService(d, struct{}{})
	}
}

// raw makes a call with an empty message and waits for its end.
func (c *catching) raw(t *testing.T, method string, pairs []string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), pairs...), settle)
	defer cancel()
	s, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	if err := s.SendMsg(&authpb.ListKeysRequest{}); err != nil && err != io.EOF {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for {
		var rsp authpb.ListKeysRequest
		if err := s.RecvMsg(&rsp); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// allMethods lists every RPC of this program's protos, the libraries' aside.
func allMethods() []string {
	var out []string
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if p := string(f.Package()); strings.HasPrefix(p, "grpc.") || strings.HasPrefix(p, "opentelemetry.") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				out = append(out, "/"+string(s.FullName())+"/"+string(s.Methods().Get(j).Name()))
			}
		}
		return true
	})
	return out
}
