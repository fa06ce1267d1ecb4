// Package handler holds the endpoints of relay.
package handler

import (
	"context"
	"io"

	"github.com/micro/micro/v3/service/client"

	numbers "framework/v3/numbers/proto"
	pb "framework/v3/relay/proto"
)

// Relay passes calls on to numbers.
type Relay struct {
	Numbers numbers.NumbersService
}

// Add passes a unary call on.
func (r *Relay) Add(ctx context.Context, req *pb.AddRequest, rsp *pb.AddResponse) error {
	answer, err := r.Numbers.Add(ctx, &numbers.AddRequest{Terms: req.Terms})
	if err != nil {
		return err
	}
	rsp.Sum = answer.Sum
	return nil
}

// Count collects what a server streams.
func (r *Relay) Count(ctx context.Context, req *pb.CountRequest, rsp *pb.CountResponse) error {
	stream, err := r.Numbers.Count(ctx, &numbers.CountRequest{To: req.To})
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		rsp.Numbers = append(rsp.Numbers, answer.Number)
	}
}

// Sum sends and receives in turn.
func (r *Relay) Sum(ctx context.Context, req *pb.SumRequest, rsp *pb.SumResponse) error {
	stream, err := r.Numbers.Sum(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	for _, t := range req.Terms {
		if err := stream.Send(&numbers.SumRequest{Term: t}); err != nil {
			return err
		}
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		rsp.Sums = append(rsp.Sums, answer.Sum)
	}
	return nil
}

// Whoami asks who this service is to others.
func (r *Relay) Whoami(ctx context.Context, req *pb.WhoamiRequest, rsp *pb.WhoamiResponse) error {
	var opts []client.CallOption
	if req.Own {
		opts = append(opts, client.WithAuthToken())
	}
	answer, err := r.Numbers.Whoami(ctx, &numbers.WhoamiRequest{}, opts...)
	if err != nil {
		return err
	}
	rsp.Id, rsp.Type = answer.Id, answer.Type
	return nil
}

// Fail passes an error on.
func (r *Relay) Fail(ctx context.Context, req *pb.FailRequest, rsp *pb.FailResponse) error {
	_, err := r.Numbers.Fail(ctx, &numbers.FailRequest{Code: req.Code, Detail: req.Detail})
	return err
}
