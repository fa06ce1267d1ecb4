package runtime

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc"

	"github.com/micro/platform/internal/bucket"
	"github.com/micro/platform/internal/identity"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// exportChunk is how much of a source one message carries.
const exportChunk = 256 << 10

// Export implements Components. Each service is read on its own: one that is
// changed meanwhile is there as it was before or as it is after.
func (a componentsAPI) Export(req *runtimepb.ExportRequest, out grpc.ServerStreamingServer[runtimepb.ExportResponse]) error {
	ctx := out.Context()
	if err := identity.RequireComponent(ctx); err != nil {
		return err
	}
	if req.GetNamespace() == "" {
		return invalid("Missing namespace")
	}
	found, err := a.s.db.read(ctx, key{Namespace: req.GetNamespace()})
	if err != nil {
		return err
	}
	for _, v := range found {
		if v.Deleted {
			continue
		}
		if err := a.s.export(ctx, v.key, out); err != nil {
			return fmt.Errorf("export %s: %w", v.key, err)
		}
	}
	return nil
}

// export sends one service with its source.
func (s *Service) export(ctx context.Context, k key, out grpc.ServerStreamingServer[runtimepb.ExportResponse]) error {
	kept, err := s.db.wanted(ctx, k)
	if err != nil || kept == nil {
		return err
	}
	sp, err := s.openSpec(k, kept.Spec)
	if err != nil {
		return err
	}
	revisions, err := s.db.revisions(ctx, k)
	if err != nil {
		return err
	}
	m := &runtimepb.Deployed{
		Name: k.Name, Version: k.Version, Source: kept.Source, Metadata: kept.Metadata, Owner: kept.Owner,
		Entrypoint: sp.Entrypoint, Instances: sp.Instances, Env: sp.Env, Secrets: sp.Secrets, Command: sp.Command, Args: sp.Args,
		Grants: sp.Grants, Limited: sp.Grants != nil,
	}
	for _, r := range slices.Backward(revisions) {
		m.Revisions = append(m.Revisions, r.message())
	}
	crashes, err := s.db.crashes(ctx, k)
	if err != nil {
		return err
	}
	for _, c := range crashes {
		m.Crashes = append(m.Crashes, c.message())
	}
	if err := out.Send(&runtimepb.ExportResponse{Service: m}); err != nil {
		return err
	}
	return s.exportSource(ctx, k.Namespace, kept.Source, out)
}

// exportSource sends what was uploaded for a service. A source that is replaced
// just then is not missed: the newer one is there before the older one goes.
func (s *Service) exportSource(ctx context.Context, namespace, source string, out grpc.ServerStreamingServer[runtimepb.ExportResponse]) error {
	blob, err := s.upload(ctx, namespace, source)
	if err != nil || blob == "" {
		return err
	}
	r, err := s.bucket.NewReader(ctx, blob, nil)
	if err != nil {
		return fmt.Errorf("open source: %w", err)
	}
	defer r.Close()
	return bucket.Pieces(r, exportChunk, func(piece []byte) error {
		return out.Send(&runtimepb.ExportResponse{Source: piece})
	})
}
