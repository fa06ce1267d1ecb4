package gateway

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	"github.com/micro/platform/framework/errors"
	eventspb "github.com/micro/platform/proto/events"
)

// recorder is a connection that keeps what is called.
type recorder struct{ method, topic, group string }

func (r *recorder) Invoke(_ context.Context, method string, args, _ any, _ ...grpc.CallOption) error {
	r.method = method
	r.topic = args.(interface{ GetTopic() string }).GetTopic()
	if g, ok := args.(*eventspb.DeleteGroupRequest); ok {
		r.group = g.GetGroup()
	}
	return nil
}

func (r *recorder) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.NewHTTP(501, "no streams here")
}

// TestTopicsWithSlashes shows that a topic may be a path, and that what follows
// it is not taken for a part of it.
func TestTopicsWithSlashes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method, path string
		want         recorder
	}{
		{"POST", "a/events", recorder{"/events.Stream/Publish", "a", ""}},
		{"POST", "event/acme/jane@example.com/orders/events", recorder{"/events.Stream/Publish", "event/acme/jane@example.com/orders", ""}},
		{"POST", "event%2Facme%2Forders/events", recorder{"/events.Stream/Publish", "event/acme/orders", ""}},
		{"POST", "a/b/messages", recorder{"/broker.Broker/Publish", "a/b", ""}},
		{"GET", "a/b/events", recorder{"/events.Store/Read", "a/b", ""}},
		{"DELETE", "a/b", recorder{"/events.Topics/Delete", "a/b", ""}},
		{"DELETE", "a/b/groups/g", recorder{"/events.Groups/Delete", "a/b", "g"}},
	} {
		conn, mux := new(recorder), runtime.NewServeMux()
		if err := routes(t.Context(), mux, conn); err != nil {
			t.Fatal(err)
		}
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(tt.method, "/platform/v1/topics/"+tt.path, nil))
		if *conn != tt.want {
			t.Errorf("%s %s calls %+v, want %+v", tt.method, tt.path, *conn, tt.want)
		}
	}
}
