package audit

import (
	"context"
	"time"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pg"
	auditpb "github.com/micro/platform/proto/audit"
)

const (
	// erasePage is how many rows one Erase removes.
	erasePage = 5000
	// erasedAction is what the entry says that is left of a log.
	erasedAction = "namespaces.Namespaces.Erase"
)

// Erase implements Components.
func (s *Service) Erase(ctx context.Context, req *auditpb.EraseRequest) (*auditpb.EraseResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	ns := req.GetNamespace()
	switch {
	case ns == "" || len(ns) > maxName || ns == identity.Platform:
		return nil, invalid("namespace: one that can be erased")
	case req.GetAccount() == "" || len(req.GetAccount()) > maxName || req.GetDeleted() <= 0:
		return nil, invalid("account and deleted: who deleted the namespace, and when")
	}
	entry := &row{
		Namespace: identity.Platform, Account: req.GetAccount(), AccountType: identity.User, Operator: req.GetOperator(),
		Action: erasedAction, Target: map[string]string{"namespace": ns},
	}
	if err := s.db.leaveEntry(ctx, ns, time.Unix(req.GetDeleted(), 0), entry); err != nil {
		return nil, err
	}
	done, err := pg.Erase(ctx, s.db.pool, "audit", ns, erasePage, "erased")
	return &auditpb.EraseResponse{Done: done}, err
}

// logOf answers the log that an entry goes into. What operators do in a namespace
// that is erased goes into their own: whoever has the name next sees nothing of it.
func (s *Service) logOf(ctx context.Context, e *auditpb.Entry) (string, error) {
	if !e.GetOperator() {
		return e.GetNamespace(), nil
	}
	gone, err := s.db.isErased(ctx, e.GetNamespace())
	if err != nil || !gone {
		return e.GetNamespace(), err
	}
	if e.Target == nil {
		e.Target = map[string]string{}
	}
	e.Target["namespace"] = e.GetNamespace()
	return identity.Platform, nil
}
