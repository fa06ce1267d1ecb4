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
