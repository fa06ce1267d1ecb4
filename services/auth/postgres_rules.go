package auth

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/micro/platform/internal/pg"
	authpb "github.com/micro/platform/proto/auth"
)

// createRule adds a rule, and with the first one the default's row.
func (d db) createRule(ctx context.Context, namespace string, r, standard *authpb.Rule, limit int) error {
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		// Two first rules at once must not both, or neither, bring the default.
		const lock = `SELECT pg_advisory_xact_lock(hashtextextended('rules of ' || $1, 0))`
		if _, err := tx.Exec(ctx, lock, namespace); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM auth.rules WHERE namespace = $1`, namespace).Scan(&n); err != nil {
			return err
		}
		if n >= limit {
			return errTooMany
		}
		if n == 0 {
			if err := insertRule(ctx, tx, namespace, standard); err != nil {
				return err
			}
		}
		if err := insertRule(ctx, tx, namespace, r); err != nil {
			return err
		}
		return notify(ctx, tx, notice{Rules: namespace})
	})
	switch {
	case err == nil, err == errTooMany:
		return err
	case pg.Violates(err, "rules_pkey"):
		return errIDTaken
	default:
		return fmt.Errorf("create rule: %w", err)
	}
}

func insertRule(ctx context.Context, tx pgx.Tx, namespace string, r *authpb.Rule) error {
	const q = `
		INSERT INTO auth.rules (namespace, id, scope, type, name, endpoint, access, priority)
		VALUES (@namespace, @id, @scope, @type, @name, @endpoint, @access, @priority)`
	_, err := tx.Exec(ctx, q, pgx.NamedArgs{
		"namespace": namespace, "id": r.GetId(), "scope": r.GetScope(), "type": r.GetResource().GetType(),
		"name": r.GetResource().GetName(), "endpoint": r.GetResource().GetEndpoint(),
		"access": int32(r.GetAccess()), "priority": r.GetPriority(),
	})
	return err
}

func (d db) deleteRule(ctx context.Context, namespace, id string) (found bool, err error) {
	err = pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		const q = `DELETE FROM auth.rules WHERE namespace = $1 AND id = $2`
		tag, err := tx.Exec(ctx, q, namespace, id)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		found = true
		return notify(ctx, tx, notice{Rules: namespace})
	})
	if err != nil {
		return false, fmt.Errorf("delete rule: %w", err)
	}
	return found, nil
}

// listRules answers a namespace's own rules; none means the default. Their
// number is bounded when they are created.
func (d db) listRules(ctx context.Context, namespace string) ([]*authpb.Rule, error) {
	const q = `
		SELECT namespace, id, scope, type, name, endpoint, access, priority
		FROM auth.rules
		WHERE namespace = $1
		ORDER BY id`
	sets, err := d.collectRules(ctx, q, namespace)
	return sets[namespace], err
}

// ruleSets answers the rules of every namespace that has some.
func (d db) ruleSets(ctx context.Context) (map[string][]*authpb.Rule, error) {
	const q = `
		SELECT namespace, id, scope, type, name, endpoint, access, priority
		FROM auth.rules
		ORDER BY namespace, id`
	return d.collectRules(ctx, q)
}

func (d db) collectRules(ctx context.Context, q string, args ...any) (map[string][]*authpb.Rule, error) {
	rows, err := d.pool.Query(ctx, q, args...)
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	defer rows.Close()
	sets := map[string][]*authpb.Rule{}
	for rows.Next() {
		var namespace string
		r := &authpb.Rule{Resource: &authpb.Resource{}}
		err := rows.Scan(&namespace, &r.Id, &r.Scope, &r.Resource.Type, &r.Resource.Name, &r.Resource.Endpoint, &r.Access, &r.Priority)
		if err != nil {
			return nil, fmt.Errorf("read rule: %w", err)
		}
		sets[namespace] = append(sets[namespace], r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	return sets, nil
}
