package config

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	configpb "github.com/micro/platform/proto/config"
)

// Watch implements Config. The watcher is there before the document is read, so
// nothing is missed between them.
func (s *Service) Watch(req *configpb.WatchRequest, stream grpc.ServerStreamingServer[configpb.WatchResponse]) error {
	ctx := stream.Context()
	v, err := s.view(ctx, req.GetNamespace(), req.GetPath(), req.GetOptions().GetSecret())
	if err != nil {
		return err
	}
	changed, err := s.hub.add(v.namespace)
	if err != nil {
		return err
	}
	defer s.hub.remove(v.namespace, changed)
	var sent *configpb.WatchResponse
	for {
		now, err := s.look(ctx, v)
		if err != nil {
			return err
		}
		if sent == nil || sent.GetValue().GetData() != now.GetValue().GetData() {
			if err := stream.Send(now); err != nil {
				return err
			}
			sent = now
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// lookTimeout bounds a look at the document. The stream itself has no end.
const lookTimeout = 10 * time.Second

func (s *Service) look(ctx context.Context, v view) (*configpb.WatchResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	data, version, err := s.read(ctx, v)
	if errors.Code(err) == codes.NotFound {
		return &configpb.WatchResponse{Value: &configpb.Value{Data: "null"}}, nil
	}
	if err != nil {
		return nil, err
	}
	return &configpb.WatchResponse{Value: &configpb.Value{Data: data}, Version: version}, nil
}
