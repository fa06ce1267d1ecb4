package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

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

// isErased says whether the log of a namespace was erased, and no other has begun.
func (d db) isErased(ctx context.Context, namespace string) (is bool, err error) {
	const q = `
		SELECT EXISTS (SELECT FROM audit.erased WHERE namespace = $1) AND NOT EXISTS (SELECT FROM audit.chains WHERE namespace = $1)`
	if err := d.pool.QueryRow(ctx, q, namespace).Scan(&is); err != nil {
		return false, fmt.Errorf("look for an erased log: %w", err)
	}
	return is, nil
}

// leaveEntry writes down that a namespace is erased, once for each deletion.
func (d db) leaveEntry(ctx context.Context, namespace string, deleted time.Time, entry *row) error {
	const q = `INSERT INTO audit.erased (namespace, deleted_at) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, q, namespace, deleted)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		_, err = addIn(ctx, tx, []*row{entry}) // no end of a call, so nothing else to be refused
		return err
	})
	if err != nil {
		return fmt.Errorf("write down that %s is erased: %w", namespace, err)
	}
	return nil
}
