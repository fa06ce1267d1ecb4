-- +goose Up

-- Who made a revision and when, and of what: build is the revision whose image
-- it runs, 0 for its own. instances is what is wanted of it, 0 what its spec
-- says; ready is how many answer.
ALTER TABLE runtime.revisions
	ADD COLUMN created_at timestamptz NOT NULL DEFAULT now(),
	ADD COLUMN author     text        NOT NULL DEFAULT '',
	ADD COLUMN build      bigint      NOT NULL DEFAULT 0,
	ADD COLUMN instances  bigint      NOT NULL DEFAULT 0,
	ADD COLUMN ready      bigint      NOT NULL DEFAULT 0;
UPDATE runtime.revisions r SET created_at = since, author = s.owner
FROM runtime.services s
WHERE s.namespace = r.namespace AND s.name = r.name AND s.version = r.version;
