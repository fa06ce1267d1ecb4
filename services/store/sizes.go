package store

import (
	"context"
	"slices"

	"github.com/micro/platform/internal/identity"
	storepb "github.com/micro/platform/proto/store"
)

// sizesPage is how many namespaces one answer of Sizes has.
const sizesPage = 100

// Sizes implements Components.
func (a componentsAPI) Sizes(ctx context.Context, req *storepb.SizesRequest) (*storepb.SizesResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	all, err := a.s.db.namespaces(ctx)
	if err != nil {
		return nil, err
	}
	rsp := &storepb.SizesResponse{}
	from, found := slices.BinarySearch(all, req.GetAfter())
	if found {
		from++
	}
	for _, ns := range all[from:min(from+sizesPage, len(all))] {
		tables, err := a.s.db.tables(ctx, ns)
		if err != nil {
			return nil, err
		}
		one := &storepb.Size{Namespace: ns}
		for u, has := range tables {
			if u.table == "" {
				one.Blobs += has.bytes
			} else {
				one.Records += has.bytes
			}
		}
		rsp.Namespaces = append(rsp.Namespaces, one)
	}
	return rsp, nil
}
