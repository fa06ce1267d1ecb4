package namespaces

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// maxSearch bounds the text that is searched for, in bytes.
const maxSearch = 256

// Search implements Namespaces.
func (s *Service) Search(ctx context.Context, req *namespacespb.SearchRequest) (*namespacespb.SearchResponse, error) {
	c, err := identity.Require(ctx)
	if err != nil {
		return nil, err
	}
	if !c.Operator() {
		return nil, operatorsOnly()
	}
	if n := len(req.GetText()); n > maxSearch {
		return nil, errors.New(codes.InvalidArgument, "text has %d bytes, at most %d are allowed", n, maxSearch)
	}
	limit, err := page(req.GetLimit())
	if err != nil {
		return nil, err
	}
	found, err := s.db.search(ctx, req.GetText(), req.GetAfter(), limit)
	if err != nil {
		return nil, err
	}
	rsp := &namespacespb.SearchResponse{}
	for _, f := range found {
		rsp.Namespaces = append(rsp.Namespaces, &namespacespb.Found{
			Namespace: f.Namespace, Owner: f.Owner, Plan: cmp.Or(f.Plan, s.tenants.standard.ID), Created: f.CreatedAt.Unix(),
			Suspended: f.SuspendedFor, State: states[f.State],
		})
	}
	return rsp, nil
}

type foundRow struct {
	Namespace    string
	Owner        string
	Plan         string
	CreatedAt    time.Time
	SuspendedFor string
	State        string
}

// search answers the namespaces in whose name or owner a text is, by name.
func (d db) search(ctx context.Context, text, after string, limit int) ([]foundRow, error) {
	const q = `
		SELECT n.namespace, n.owner, coalesce(n.plan, '') AS plan, n.created_at,
			CASE WHEN n.suspended_at IS NULL THEN '' ELSE n.suspended_for END AS suspended_for, coalesce(d.state, '') AS state
		FROM namespaces.namespaces AS n
		LEFT JOIN namespaces.deletions AS d ON d.namespace = n.namespace AND d.state <> 'erased'
		WHERE n.namespace > $2 AND n.active_at IS NOT NULL AND (strpos(n.namespace, lower($1)) > 0 OR strpos(n.owner, lower($1)) > 0)
		ORDER BY n.namespace
		LIMIT $3`
	rows, _ := d.pool.Query(ctx, q, text, after, limit) // CollectRows reports the error
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[foundRow])
	if err != nil {
		return nil, fmt.Errorf("search namespaces: %w", err)
	}
	return found, nil
}
