package audit

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Check follows the chain of every namespace in a restored database, and answers
// how many rows there are.
func Check(ctx context.Context, pool *pgxpool.Pool) (rows int64, err error) {
	s := &Service{db: db{pool}}
	names, err := s.db.chains(ctx)
	if err != nil {
		return 0, err
	}
	for _, namespace := range names {
		out, began, err := s.verify(ctx, namespace)
		if err != nil {
			return rows, err
		}
		if out.GetBroken() != 0 {
			return rows, fmt.Errorf("the audit log of %s is broken at row %d", namespace, out.GetBroken())
		}
		rows += out.GetRows() - began
	}
	return rows, nil
}
