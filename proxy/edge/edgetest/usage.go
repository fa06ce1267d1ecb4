package edgetest

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/meter"
	usagepb "github.com/micro/platform/proto/usage"
)

// Usage takes what edges count. Give its Component to Run.
type Usage struct {
	usagepb.UnimplementedComponentsServer

	mu      sync.Mutex
	records []meter.Record
}

// Component is the component that edges ship to.
func (u *Usage) Component() app.Component {
	return Component("usage", func(s grpc.ServiceRegistrar) { usagepb.RegisterComponentsServer(s, u) })
}

// Append implements usagepb.ComponentsServer.
func (u *Usage) Append(ctx context.Context, req *usagepb.AppendRequest) (*usagepb.AppendResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for data := req.GetData(); len(data) > 0; {
		r, n, err := meter.Read(data)
		if err != nil {
			return nil, err
		}
		u.records, data = append(u.records, r), data[n:]
	}
	return &usagepb.AppendResponse{Offset: req.GetOffset() + uint64(len(req.GetData()))}, nil
}

// Records answers what was counted of a service so far.
func (u *Usage) Records(service string) []meter.Record {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []meter.Record
	for _, r := range u.records {
		if r.Service == service {
			out = append(out, r)
		}
	}
	return out
}
