package audit

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/rpc"
	auditpb "github.com/micro/platform/proto/audit"
)

// timeout bounds each of the two calls that an audited call costs. They take a
// millisecond or two.
const timeout = 5 * time.Second

// requestID is the metadata in which the edges give a call its id.
const requestID = "micro-request-id"

// Log tells the component audit.
type Log struct {
	client   auditpb.ComponentsClient
	log      *slog.Logger
	failures *failures
}

// New makes a Log.
func New(conn grpc.ClientConnInterface, log *slog.Logger) *Log {
	return &Log{client: auditpb.NewComponentsClient(conn), log: log, failures: newFailures()}
}

// Unary is the interceptor for unary calls.
func (l *Log) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	m, _ := req.(proto.Message)
	end, err := l.begin(ctx, info.FullMethod, m)
	if err != nil {
		return nil, err
	}
	ctx, c := l.watch(ctx, info.FullMethod, m)
	rsp, err := handler(ctx, req)
	c.ended(err)
	end(err)
	return rsp, err
}

// Stream is the interceptor for streams. What is asked stands in the first
// message.
func (l *Log) Stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if _, is := identity.From(s.Context()); !is {
		return handler(srv, s)
	}
	w := &watched{ServerStream: s, begin: func(m proto.Message) (func(error), error) {
		return l.begin(s.Context(), info.FullMethod, m)
	}}
	err := handler(srv, w)
	w.finish(err)
	return err
}

// watched is a stream whose first message is seen.
type watched struct {
	grpc.ServerStream
	begin func(proto.Message) (func(error), error)

	mu   sync.Mutex // a handler may receive and end on different goroutines
	seen bool
	end  func(error)
}

// RecvMsg implements grpc.ServerStream.
func (w *watched) RecvMsg(m any) error {
	if err := w.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen {
		return nil
	}
	w.seen = true
	first, _ := m.(proto.Message)
	end, err := w.begin(first)
	w.end = end
	return err
}

func (w *watched) finish(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end != nil {
		w.end(err)
	}
}

// begin writes down what is about to be done. What cannot be written down is
// not done. The function that it answers writes down how it ended.
func (l *Log) begin(ctx context.Context, method string, req proto.Message) (end func(error), err error) {
	caller, ok := identity.From(ctx)
	if !ok {
		return func(error) {}, nil
	}
	namespace, is := told(caller, method, req)
	if !is {
		return func(error) {}, nil
	}
	entry := newEntry(ctx, caller, method)
	entry.Namespace, entry.Operator, entry.Target = namespace, namespace != caller.Namespace, targets(req)
	return l.write(ctx, entry)
}

// newEntry is what is known of a call before its request is looked at.
func newEntry(ctx context.Context, caller identity.Caller, method string) *auditpb.Entry {
	service, handler, endpoint := split(method)
	return &auditpb.Entry{
		Account: cmp.Or(caller.ID, anonymous), AccountType: cmp.Or(caller.Type, anonymous), Session: caller.Session,
		Address: rpc.OriginOf(ctx).Address, RequestId: first(metadata.ValueFromIncomingContext(ctx, requestID)),
		Action: service + "." + handler + "." + endpoint,
	}
}

// write writes an entry, and answers what writes how its call ended.
func (l *Log) write(ctx context.Context, entry *auditpb.Entry) (end func(error), err error) {
	bounded, cancel := context.WithTimeout(identity.AsComponent(ctx), timeout)
	defer cancel()
	rsp, err := l.client.Begin(bounded, &auditpb.BeginRequest{Entry: entry})
	if err != nil {
		return nil, errors.New(codes.Unavailable, "the audit log cannot be written, so nothing was changed: try again").Because(err)
	}
	return func(result error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(identity.AsComponent(ctx)), timeout)
		defer cancel()
		_, err := l.client.End(ctx, &auditpb.EndRequest{Namespace: cmp.Or(rsp.GetNamespace(), entry.GetNamespace()), Id: rsp.GetId(), Outcome: outcome(result)})
		if err != nil {
			l.log.WarnContext(ctx, "the end of a call is not in the audit log", "namespace", entry.GetNamespace(), "entry", rsp.GetId(), "error", err)
		}
	}, nil
}

// outcome is the code of a result. What is not an answer for the caller is
// answered as Internal.
func outcome(err error) string {
	if code := errors.Code(err); code != codes.Unknown {
		return code.String()
	}
	return codes.Internal.String()
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
