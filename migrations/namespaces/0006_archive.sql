-- +goose Up

-- How far the import of an archive has come, by its parts. A row with an empty
-- part is the import itself.
CREATE TABLE namespaces.imports (
	namespace  text        NOT NULL,
	digest     text        NOT NULL, -- of the archive's manifest
	part       text        NOT NULL,
	records    bigint      NOT NULL DEFAULT 0,
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, digest, part)
);
