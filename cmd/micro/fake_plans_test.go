package main

import (
	"context"
	"maps"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// fakePlans has one namespace, acme, on the plan free.
type fakePlans struct {
	namespacespb.UnimplementedPlansServer

	mu        sync.Mutex
	plan      string
	own       map[string]int64
	suspended string
}

func newFakePlans() *fakePlans { return &fakePlans{plan: "free", own: map[string]int64{}} }

func (f *fakePlans) List(ctx context.Context, _ *namespacespb.ListPlansRequest) (*namespacespb.ListPlansResponse, error) {
	c, err := plans.Standard()
	if err != nil {
		return nil, err
	}
	rsp := &namespacespb.ListPlansResponse{}
	for _, p := range c.Plans {
		rsp.Plans = append(rsp.Plans, &namespacespb.Plan{Id: p.ID, Title: p.Title, Limits: p.Limits.Map(),
			Price: &namespacespb.Price{Currency: p.Price.Currency, Month: p.Price.Month, Units: p.Price.Units()}})
	}
	return rsp, loggedIn(ctx)
}

func (f *fakePlans) Limits(ctx context.Context, _ *namespacespb.LimitsRequest) (*namespacespb.LimitsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rsp := &namespacespb.LimitsResponse{Namespace: "acme", Plan: f.plan}
	c, err := plans.Standard()
	if err != nil {
		return nil, err
	}
	l := c.Find(f.plan).Limits.With(f.own)
	for _, i := range plans.All() {
		_, own := f.own[i.Name]
		rsp.Limits = append(rsp.Limits, &namespacespb.Limit{Name: i.Name, Unit: i.Unit, Value: int64(l.Get(i)), Own: own})
	}
	if f.suspended != "" {
		rsp.Suspension = &namespacespb.Suspension{Reason: f.suspended, Since: 1_800_000_000}
		rsp.Throttles = []*namespacespb.Throttle{{Service: "web", Action: namespacespb.Action_STOP, Reason: "budget spent", Since: 1_800_000_000}}
	}
	return rsp, loggedIn(ctx)
}

func (f *fakePlans) Set(ctx context.Context, req *namespacespb.SetPlanRequest) (*namespacespb.LimitsResponse, error) {
	if err := known(req.GetNamespace()); err != nil {
		return nil, err
	}
	f.mu.Lock()
	if req.GetPlan() != "" {
		f.plan = req.GetPlan()
	}
	maps.Copy(f.own, req.GetLimits())
	for _, name := range req.GetUnset() {
		delete(f.own, name)
	}
	f.mu.Unlock()
	return f.Limits(ctx, nil)
}

func (f *fakePlans) Suspend(ctx context.Context, req *namespacespb.SuspendRequest) (*namespacespb.SuspendResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.suspended = req.GetReason()
	return &namespacespb.SuspendResponse{}, errors.Join(known(req.GetNamespace()), loggedIn(ctx))
}

func (f *fakePlans) Resume(ctx context.Context, req *namespacespb.ResumeRequest) (*namespacespb.ResumeResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.suspended = ""
	return &namespacespb.ResumeResponse{}, known(req.GetNamespace())
}

func known(namespace string) error {
	if namespace != "acme" {
		return errors.New(codes.NotFound, "no namespace %q", namespace)
	}
	return nil
}
