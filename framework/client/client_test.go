package client

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
	registrypb "github.com/micro/platform/proto/registry"
)

// conn answers calls with errors, one after the other, and then well.
type conn struct {
	grpc.ClientConnInterface
	errs  []error
	calls int
	md    metadata.MD
	left  time.Duration
}

func (c *conn) Invoke(ctx context.Context, _ string, _, _ any, _ ...grpc.CallOption) error {
	c.md, _ = metadata.FromOutgoingContext(ctx)
	deadline, _ := ctx.Deadline()
	c.left = time.Until(deadline)
	c.calls++
	if c.calls > len(c.errs) {
		return nil
	}
	return c.errs[c.calls-1]
}

func call(t *testing.T, ctx context.Context, c *conn, token func(context.Context) (string, error), opts ...CallOption) error {
	t.Helper()
	x := New(c, Options{Namespace: "demo", Token: token})
	return x.Call(ctx, x.NewRequest("echo", "Echo.Say", &registrypb.Value{}), &registrypb.Value{}, opts...)
}

func noToken(context.Context) (string, error) { return "", nil }

func TestRetry(t *testing.T) {
	t.Parallel()
	refused := status.Error(codes.Unavailable, "dial tcp 127.0.0.1:1: connect: connection refused")
	for _, tt := range []struct {
		name  string
		errs  []error
		calls int
		want  codes.Code
	}{
		{"well at once", nil, 1, codes.OK},
		{"refused once", []error{refused}, 2, codes.OK},
		{"refused twice", []error{refused, refused, refused}, 2, codes.Unavailable},
		{"unavailable after it was sent", []error{status.Error(codes.Unavailable, "closing transport")}, 1, codes.Unavailable},
		{"another error of that text", []error{status.Error(codes.Internal, "connection refused")}, 1, codes.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &conn{errs: tt.errs}
			err := call(t, t.Context(), c, noToken)
			if errors.Code(err) != tt.want || c.calls != tt.calls {
				t.Errorf("%v after %d calls, want %s after %d", err, c.calls, tt.want, tt.calls)
			}
		})
	}
}

// TestTimeouts are a minute, less if asked for, and never more than is left.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		opts []CallOption
		want time.Duration
	}{
		{"none", t.Context(), nil, time.Minute},
		{"asked for", t.Context(), []CallOption{WithRequestTimeout(5 * time.Second)}, 5 * time.Second},
		{"what is left", short, []CallOption{WithRequestTimeout(5 * time.Second)}, time.Second},
	} {
		c := &conn{}
		if err := call(t, tt.ctx, c, noToken, tt.opts...); err != nil {
			t.Fatal(err)
		}
		if c.left > tt.want || c.left < tt.want-time.Second {
			t.Errorf("%s: %s left, want %s", tt.name, c.left, tt.want)
		}
	}
}

// TestNoTokenYet does not make a call anonymous that should be the service's.
func TestNoTokenYet(t *testing.T) {
	t.Parallel()
	c := &conn{}
	err := call(t, t.Context(), c, func(context.Context) (string, error) { return "", context.DeadlineExceeded })
	if errors.Code(err) != codes.Unavailable || c.calls != 0 {
		t.Errorf("%v after %d calls", err, c.calls)
	}
}

// TestMetadataOfTheProgram goes along, but for a token that was to be the
// service's own.
func TestMetadataOfTheProgram(t *testing.T) {
	t.Parallel()
	c := &conn{}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-key", "value", "authorization", "Bearer other")
	own := func(context.Context) (string, error) { return "own", nil }
	if err := call(t, ctx, c, own, WithAuthToken()); err != nil {
		t.Fatal(err)
	}
	if got := c.md.Get("authorization"); len(got) != 1 || got[0] != "Bearer own" {
		t.Errorf("authorization %q", got)
	}
	if got := c.md.Get("x-key"); len(got) != 1 || got[0] != "value" {
		t.Errorf("x-key %q", got)
	}
}
