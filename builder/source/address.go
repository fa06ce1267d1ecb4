package source

import (
	"context"
	"net/netip"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/outside"
)

// resolve answers the addresses of a public host: git is then pinned to what was
// checked here.
func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses, err := outside.Resolve(ctx, host)
	if errors.Is(err, outside.ErrInside) {
		return nil, refuse(onlyHTTPS)
	}
	return addresses, err
}
