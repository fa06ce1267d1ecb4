// Package migrations holds the SQL of every component's schema, a folder each.
// Files only go forward and only add; one that has landed is never edited.
package migrations

import "embed"

// Files is the folders by component: auth/0001_accounts.sql.
//
//go:embed */*.sql
var Files embed.FS
