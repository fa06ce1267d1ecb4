package host

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	hostpb "github.com/micro/platform/proto/host"
)

const (
	// maxStops bounds how many containers one call may name.
	maxStops = 1000
	// stopTimeout is longer than the time that a service has to end.
	stopTimeout = 20 * time.Second
)

// Stop implements the RPC.
func (s *Service) Stop(ctx context.Context, req *hostpb.StopRequest) (*hostpb.StopResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if n := len(req.GetContainers()); n > maxStops {
		return nil, errors.New(codes.InvalidArgument, "%d containers are named; there may be %d", n, maxStops)
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	running, err := s.containers.Running(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	running = slices.DeleteFunc(running, func(id string) bool { return !slices.Contains(req.GetContainers(), id) })
	failures := make([]error, len(running))
	var work sync.WaitGroup
	for i, id := range running {
		work.Go(func() { failures[i] = past(s.docker.ContainerStop(ctx, id, container.StopOptions{})) })
	}
	work.Wait()
	return &hostpb.StopResponse{}, s.explain(errors.Join(failures...))
}
