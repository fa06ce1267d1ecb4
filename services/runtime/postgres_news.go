package runtime

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// tell writes down what happened to a service, with the change itself.
func tell(ctx context.Context, tx pgx.Tx, k key, kind, source string, metadata map[string]string) error {
	const q = `
		INSERT INTO runtime.news (namespace, type, name, version, source, metadata)
		VALUES (@namespace, @type, @name, @version, @source, @metadata)`
	if metadata == nil {
		metadata = map[string]string{}
	}
	args := pgx.NamedArgs{"namespace": k.Namespace, "type": kind, "name": k.Name, "version": k.Version, "source": source, "metadata": metadata}
	if _, err := tx.Exec(ctx, q, args); err != nil {
		return fmt.Errorf("write news: %w", err)
	}
	return nil
}

// news answers what is to be published after one, the oldest first.
func (d db) news(ctx context.Context, after int64, limit int) ([]news, error) {
	const q = `
		SELECT id, namespace, type, name, version, source, metadata, created_at
		FROM runtime.news
		WHERE id > $1
		ORDER BY id
		LIMIT $2`
	rows, _ := d.pool.Query(ctx, q, after, limit)
	out, err := pgx.CollectRows(rows, pgx.RowToStructByName[news])
	if err != nil {
		return nil, fmt.Errorf("read news: %w", err)
	}
	return out, nil
}

func (d db) forgetNews(ctx context.Context, id int64) error {
	const q = `DELETE FROM runtime.news WHERE id = $1`
	if _, err := d.pool.Exec(ctx, q, id); err != nil {
		return fmt.Errorf("forget news: %w", err)
	}
	return nil
}
