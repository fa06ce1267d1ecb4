package rpc

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// Origin is where a call came into the platform, as an edge saw it. Edges
// remove what clients send under these names. It only ever restricts: no
// permission comes from it.
type Origin struct {
	// Address is the client's IP address, without a port.
	Address string
	// Containers says that the call came from a tenant's container.
	Containers bool
}

const (
	addressKey  = "micro-client-address"
	listenerKey = "micro-listener"
	containers  = "containers"
)

// OriginOf answers the origin of an incoming call; the zero Origin is the
// platform itself.
func OriginOf(ctx context.Context) Origin {
	var o Origin
	if v := metadata.ValueFromIncomingContext(ctx, addressKey); len(v) > 0 {
		o.Address = v[0]
	}
	v := metadata.ValueFromIncomingContext(ctx, listenerKey)
	o.Containers = len(v) > 0 && v[0] == containers
	return o
}

// Set writes the origin into the metadata of an outgoing call, over what is
// there.
func (o Origin) Set(md metadata.MD) {
	md.Delete(addressKey)
	md.Delete(listenerKey)
	if o.Address != "" {
		md.Set(addressKey, o.Address)
	}
	if o.Containers {
		md.Set(listenerKey, containers)
	}
}
