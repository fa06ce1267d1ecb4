package namespaces

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// plansAPI is the API namespaces.Plans.
type plansAPI struct {
	namespacespb.UnsafePlansServer
	*Service
}

// defaultPlan is what stands for following the server's default.
const defaultPlan = "default"

// catalogue reads the plans that the options name.
func (o Options) catalogue() (*plans.Catalogue, *plans.Plan, error) {
	c, err := plans.Standard()
	if o.Plans != "" {
		var data []byte
		if data, err = os.ReadFile(o.Plans); err == nil {
			c, err = plans.Read(o.Plans, data)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("MICRO_NAMESPACES_PLANS: %w", err)
	}
	standard := c.Find(o.Plan)
	if standard == nil {
		return nil, nil, fmt.Errorf("MICRO_NAMESPACES_PLAN: there is no plan %q, only %s", o.Plan, planNames(c))
	}
	return c, standard, nil
}

func planNames(c *plans.Catalogue) string {
	var names []string
	for _, p := range c.Plans {
		names = append(names, p.ID)
	}
	return strings.Join(names, ", ")
}

// List implements the RPC.
func (s plansAPI) List(ctx context.Context, _ *namespacespb.ListPlansRequest) (*namespacespb.ListPlansResponse, error) {
	if _, err := identity.Require(ctx); err != nil {
		return nil, err
	}
	return &namespacespb.ListPlansResponse{Plans: s.tenants.plans()}, nil
}

// Limits implements the RPC.
func (s plansAPI) Limits(ctx context.Context, req *namespacespb.LimitsRequest) (*namespacespb.LimitsResponse, error) {
	name, err := identity.Member(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	return s.limitsOf(ctx, name)
}

func (s *Service) limitsOf(ctx context.Context, name string) (*namespacespb.LimitsResponse, error) {
	t, err := s.tenant(ctx, name)
	if err != nil {
		return nil, err
	}
	l := s.tenants.catalogue.Find(t.GetPlan()).Limits.With(t.GetLimits())
	rsp := &namespacespb.LimitsResponse{Namespace: name, Plan: t.GetPlan(), Suspension: t.GetSuspension(), Throttles: t.GetThrottles()}
	for _, i := range plans.All() {
		_, own := t.GetLimits()[i.Name]
		rsp.Limits = append(rsp.Limits, &namespacespb.Limit{Name: i.Name, Value: int64(l.Get(i)), Unit: i.Unit, Own: own})
	}
	return rsp, nil
}

// tenant reads what is to be known about a namespace.
func (s *Service) tenant(ctx context.Context, name string) (*namespacespb.Tenant, error) {
	if name == identity.Platform {
		return platformTenant(), nil
	}
	if !nameRule.MatchString(name) {
		return nil, noNamespace(name)
	}
	rows, err := s.db.tenants(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || rows[0].State == erasing || rows[0].State == erased {
		return nil, noNamespace(name)
	}
	return s.tenants.message(rows[0]), nil
}

// Set implements the RPC.
func (s plansAPI) Set(ctx context.Context, req *namespacespb.SetPlanRequest) (*namespacespb.LimitsResponse, error) {
	name, err := s.operated(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if p := req.GetPlan(); p != "" && p != defaultPlan && s.tenants.catalogue.Find(p) == nil {
		return nil, errors.New(codes.InvalidArgument, "plan: there is no plan %q, only %s, and default for the server's default",
			errors.Clip(p), planNames(s.tenants.catalogue))
	}
	err = s.db.changePlan(ctx, name, func(r *tenantRow) error { return s.apply(r, req) })
	if errors.Is(err, errNone) {
		return nil, noNamespace(name)
	}
	if err != nil {
		return nil, err
	}
	c, _ := identity.From(ctx)
	s.log.InfoContext(ctx, "operator has set a plan", "account", c.ID, "namespace", name, "plan", req.GetPlan())
	return s.limitsOf(ctx, name)
}

// apply changes a row as asked, if what comes out makes sense.
func (s plansAPI) apply(r *tenantRow, req *namespacespb.SetPlanRequest) error {
	switch p := req.GetPlan(); p {
	case "":
	case defaultPlan:
		r.Plan = nil
	default:
		r.Plan = &p
	}
	for _, name := range req.GetUnset() {
		if _, err := plans.Parse(name, "0"); err != nil {
			return errors.New(codes.InvalidArgument, "unset: %v", err)
		}
		delete(r.Limits, name)
	}
	maps.Copy(r.Limits, req.GetLimits())
	if err := s.tenants.planOf(*r).Limits.CheckOwn(r.Limits); err != nil {
		return errors.New(codes.InvalidArgument, "%v", err)
	}
	return nil
}

// maxReason is in bytes.
const maxReason = 500

func checkReason(reason string) error {
	if reason == "" || len(reason) > maxReason {
		return errors.New(codes.InvalidArgument, "reason: 1 to %d bytes, which members of the namespace will see", maxReason)
	}
	return nil
}

// Suspend implements the RPC.
func (s plansAPI) Suspend(ctx context.Context, req *namespacespb.SuspendRequest) (*namespacespb.SuspendResponse, error) {
	if err := checkReason(req.GetReason()); err != nil {
		return nil, err
	}
	reason := req.GetReason()
	return &namespacespb.SuspendResponse{}, s.setSuspension(ctx, req.GetNamespace(), &reason)
}

// Resume implements the RPC.
func (s plansAPI) Resume(ctx context.Context, req *namespacespb.ResumeRequest) (*namespacespb.ResumeResponse, error) {
	return &namespacespb.ResumeResponse{}, s.setSuspension(ctx, req.GetNamespace(), nil)
}

func (s plansAPI) setSuspension(ctx context.Context, namespace string, reason *string) error {
	name, err := s.operated(ctx, namespace)
	if err != nil {
		return err
	}
	found, err := s.db.suspend(ctx, name, reason)
	if err != nil {
		return err
	}
	if !found {
		return noNamespace(name)
	}
	c, _ := identity.From(ctx)
	s.log.InfoContext(ctx, "operator has changed a suspension", "account", c.ID, "namespace", name, "suspended", reason != nil)
	return nil
}

func operatorsOnly() error {
	return errors.New(codes.PermissionDenied, "this is for operators of the server: admins of namespace %s who have logged in", identity.Platform).For(identity.PlatformOnly)
}

// operated answers the namespace that an operator names. The platform's own has
// no plan and cannot be suspended: that would lock the operators out.
func (s *Service) operated(ctx context.Context, namespace string) (string, error) {
	c, err := identity.Require(ctx)
	if err != nil {
		return "", err
	}
	switch {
	case !c.Operator():
		return "", operatorsOnly()
	case namespace == identity.Platform:
		return "", errors.New(codes.InvalidArgument, "namespace: %s is the operators' own, always on the plan %s", identity.Platform, plans.Local)
	case !nameRule.MatchString(namespace):
		return "", noNamespace(namespace)
	}
	return namespace, nil
}
