package store

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/micro/platform/internal/bucket"
	"github.com/micro/platform/internal/identity"
	storepb "github.com/micro/platform/proto/store"
)

// erasePage is how many tables one Erase drops, or how many objects it deletes.
const erasePage = 100

// componentsAPI implements Components.
type componentsAPI struct {
	storepb.UnsafeComponentsServer

	s   *Service
	dir string // of a bucket in the file system
}

// Erase implements Components. The index of blobs goes with the tables, so that
// nobody reads one whose object is gone.
func (a componentsAPI) Erase(ctx context.Context, req *storepb.EraseRequest) (*storepb.EraseResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	ns := req.GetNamespace()
	if err := checkName("namespace", ns); err != nil {
		return nil, err
	}
	defer a.s.usage.Forget(ns)
	units, err := a.s.db.units(ctx, ns)
	if err != nil {
		return nil, err
	}
	for _, u := range units[:min(len(units), erasePage)] {
		if err := a.s.db.drop(ctx, u); err != nil {
			return nil, err
		}
	}
	if len(units) > erasePage {
		return &storepb.EraseResponse{}, nil
	}
	objects := bucket.Folder{Bucket: a.s.bucket, Dir: a.dir, Name: objectPath + escape(ns) + "/"}
	done, err := objects.Erase(ctx, erasePage)
	if err != nil || !done {
		return &storepb.EraseResponse{}, err
	}
	return &storepb.EraseResponse{Done: true}, a.s.db.forgetNamespace(ctx, ns)
}

// units answers all tables of a namespace, those that are being made among them.
func (d db) units(ctx context.Context, namespace string) ([]unit, error) {
	names, err := d.redis.HKeys(ctx, directoryKey(namespace)).Result()
	if err != nil {
		return nil, down("list tables", err)
	}
	out := make([]unit, len(names))
	for i, name := range names {
		out[i] = unit{namespace, name}
	}
	return out, nil
}

// forgetNamespace takes a namespace without tables out of the list.
func (d db) forgetNamespace(ctx context.Context, namespace string) error {
	_, err := d.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, garbageKey(namespace))
		p.SRem(ctx, namespacesKey, namespace)
		return nil
	})
	if err != nil {
		return down("forget namespace", err)
	}
	left, err := d.units(ctx, namespace)
	if err == nil && len(left) > 0 { // made meanwhile
		err = d.redis.SAdd(ctx, namespacesKey, namespace).Err()
	}
	if err != nil {
		return down("forget namespace", err)
	}
	return nil
}
