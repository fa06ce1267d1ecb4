-- +goose Up

-- The account elsewhere with which an owner signed up, for auth to link.
ALTER TABLE namespaces.outbox
	ADD COLUMN provider text NOT NULL DEFAULT '',
	ADD COLUMN subject  text NOT NULL DEFAULT '',
	ADD COLUMN email    text NOT NULL DEFAULT '';
