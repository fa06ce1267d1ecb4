package runtime

import (
	"context"
	"encoding/json"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	eventspb "github.com/micro/platform/proto/events"
)

// fakeEvents keeps what is published, unless it refuses a namespace.
type fakeEvents struct {
	eventspb.StreamClient

	refuse map[string]codes.Code
	got    []*eventspb.PublishRequest
}

func (f *fakeEvents) Publish(ctx context.Context, req *eventspb.PublishRequest, _ ...grpc.CallOption) (*eventspb.PublishResponse, error) {
	if !identity.CallsAsComponent(ctx) {
		return nil, errors.New(codes.PermissionDenied, "not the platform's own call")
	}
	if code, refused := f.refuse[req.GetNamespace()]; refused {
		return nil, errors.New(code, "refused")
	}
	f.got = append(f.got, req)
	return &eventspb.PublishResponse{}, nil
}

func (f *fakeEvents) types() []string {
	var out []string
	for _, r := range f.got {
		out = append(out, r.GetNamespace()+" "+r.GetMetadata()["type"])
	}
	return out
}

// TestNews shows that changes of services are published once, also those that
// were made while events was away.
func TestNews(t *testing.T) {
	t.Parallel()
	b := setup(t)
	f := &fakeEvents{refuse: map[string]codes.Code{"acme": codes.Unavailable}}
	b.create("hello", "github.com/acme/hello")
	if err := publishNews(t.Context(), b.svc.db, f); err == nil {
		t.Fatal("events is away, and nobody hears of it")
	}
	b.update("hello", "github.com/acme/hello")
	b.delete("hello")
	f.refuse = nil
	for range 2 {
		if err := publishNews(t.Context(), b.svc.db, f); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"acme service.created", "acme service.updated", "acme service.deleted"}
	got := f.types()
	if len(got) != len(want) {
		t.Fatalf("published %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("published %v, want %v", got, want)
		}
	}
	first := f.got[0]
	var payload newsPayload
	if err := json.Unmarshal(first.GetPayload(), &payload); err != nil {
		t.Fatal(err)
	}
	if payload.Type != serviceCreated || payload.Namespace != "acme" || payload.Service.Name != "hello" || payload.Service.Version != "latest" ||
		first.GetTopic() != "runtime" || first.GetMetadata()["namespace"] != "acme" || first.GetTimestamp() == 0 {
		t.Errorf("published %v", first)
	}
}

// TestRefusedNews does not hold up other namespaces.
func TestRefusedNews(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("hello", "github.com/acme/hello")
	owner := b.admin
	b.admin = as(t.Context(), "bob", "other", "admin")
	b.create("hello", "github.com/other/hello")
	b.admin = owner
	f := &fakeEvents{refuse: map[string]codes.Code{"acme": codes.ResourceExhausted}}
	if err := publishNews(t.Context(), b.svc.db, f); err == nil {
		t.Error("a refusal is not told")
	}
	if got := f.types(); len(got) != 1 || got[0] != "other service.created" {
		t.Errorf("published %v", got)
	}
	f.refuse = nil
	if err := publishNews(t.Context(), b.svc.db, f); err != nil || len(f.got) != 2 {
		t.Errorf("%v, published %v", err, f.types())
	}
}
