// Package handler holds the endpoints of numbers.
package handler

import (
	"context"
	"io"

	"github.com/micro/micro/v3/service/auth"
	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"

	pb "framework/v3/numbers/proto"
)

// Numbers calculates.
type Numbers struct{}

// Add answers the sum of its terms.
func (n *Numbers) Add(ctx context.Context, req *pb.AddRequest, rsp *pb.AddResponse) error {
	logger.Infof("adding %d terms", len(req.Terms))
	for _, t := range req.Terms {
		rsp.Sum += t
	}
	rsp.Note = req.Note
	return nil
}

// Count answers 1 to n.
func (n *Numbers) Count(ctx context.Context, req *pb.CountRequest, stream pb.Numbers_CountStream) error {
	for i := int64(1); i <= req.To; i++ {
		if err := stream.Send(&pb.CountResponse{Number: i}); err != nil {
			return err
		}
	}
	return nil
}

// Sum answers each number with the sum of all so far.
func (n *Numbers) Sum(ctx context.Context, stream pb.Numbers_SumStream) error {
	var sum int64
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		sum += req.Term
		if err := stream.Send(&pb.SumResponse{Sum: sum}); err != nil {
			return err
		}
	}
}

// Whoami answers the caller's account.
func (n *Numbers) Whoami(ctx context.Context, req *pb.WhoamiRequest, rsp *pb.WhoamiResponse) error {
	account, ok := auth.AccountFromContext(ctx)
	if !ok {
		return errors.Unauthorized("numbers.Whoami", "no account")
	}
	rsp.Id, rsp.Issuer, rsp.Type, rsp.Scopes = account.ID, account.Issuer, account.Type, account.Scopes
	return nil
}

// Fail answers an error with the code that is asked for.
func (n *Numbers) Fail(ctx context.Context, req *pb.FailRequest, rsp *pb.FailResponse) error {
	return errors.New("numbers.Fail", req.Detail, req.Code)
}
