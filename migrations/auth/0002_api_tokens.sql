-- +goose Up

-- What programs use in the place of a login. A token is 256 random bits, so its
-- SHA-256 gives nothing away and is found through an index; a slow hash would
-- only make each use slow.
CREATE TABLE auth.api_tokens (
	namespace    text        NOT NULL,
	id           text        NOT NULL,
	account      text        NOT NULL,
	name         text        NOT NULL,
	hash         bytea       NOT NULL,
	grants       text[]      NOT NULL,
	created_at   timestamptz NOT NULL DEFAULT now(),
	expires_at   timestamptz, -- null is never
	last_used_at timestamptz, -- to the minute
	PRIMARY KEY (namespace, id),
	CONSTRAINT api_tokens_name UNIQUE (namespace, account, name),
	FOREIGN KEY (namespace, account) REFERENCES auth.accounts ON DELETE CASCADE
);

CREATE UNIQUE INDEX api_tokens_hash ON auth.api_tokens (hash);

-- Logins and API tokens that have ended before the access tokens that descend
-- from them.
CREATE TABLE auth.session_revocations (
	namespace  text        NOT NULL,
	session    text        NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (namespace, session)
);

CREATE INDEX session_revocations_by_expiry ON auth.session_revocations (expires_at);

-- One row stands for the revocations of a namespace's services that are gone:
-- tokens of services with an epoch below this one are refused, but those of the
-- living.
CREATE TABLE auth.gone_services (
	namespace  text        PRIMARY KEY,
	epoch      bigint      NOT NULL,
	living     bigint[]    NOT NULL,
	expires_at timestamptz NOT NULL
);

ALTER TABLE auth.revocations
	ADD COLUMN service    boolean     NOT NULL DEFAULT false,
	ADD COLUMN revoked_at timestamptz NOT NULL DEFAULT now();
