-- +goose Up

-- The document of a namespace as it is now. A change locks its row.
CREATE TABLE config.documents (
	namespace text   PRIMARY KEY,
	version   bigint NOT NULL,
	document  bytea  NOT NULL, -- JSON, null where a secret is: jsonb would change numbers and refuse \u0000
	secrets   jsonb  NOT NULL DEFAULT '{}' -- sealed, by path
);

-- Every version that is kept, the present one among them.
CREATE TABLE config.versions (
	namespace    text        NOT NULL,
	version      bigint      NOT NULL,
	action       text        NOT NULL,
	path         text        NOT NULL,
	account      text        NOT NULL,
	account_name text        NOT NULL,
	created_at   timestamptz NOT NULL DEFAULT now(),
	restored     bigint      NOT NULL DEFAULT 0, -- of a rollback: the version that was gone back to
	document     bytea       NOT NULL,
	secrets      jsonb       NOT NULL DEFAULT '{}',
	PRIMARY KEY (namespace, version)
);

-- The keys of secrets, sealed with the cluster secret. Whoever seals shares the
-- lock of the row, so that no secret is written with a key that is going.
CREATE TABLE config.keys (
	id      boolean PRIMARY KEY DEFAULT true CHECK (id),
	version bigint  NOT NULL,
	keys    bytea   NOT NULL
);
