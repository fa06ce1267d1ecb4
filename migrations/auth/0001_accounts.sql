-- +goose Up

-- Epochs say which tokens of an account still count: a token carries the epoch
-- that its account had. One sequence for all, so that an account that is made
-- again has a later epoch than the one that was deleted.
CREATE SEQUENCE auth.epochs;

CREATE TABLE auth.accounts (
	namespace  text        NOT NULL,
	id         text        NOT NULL,
	type       text        NOT NULL CHECK (type IN ('user', 'service')),
	name       text        NOT NULL,
	scopes     text[]      NOT NULL DEFAULT '{}',
	metadata   jsonb       NOT NULL DEFAULT '{}',
	secret     text        NOT NULL, -- a hash: $argon2id$... of what people chose, sha256:... of what is random
	owner      boolean     NOT NULL DEFAULT false,
	epoch      bigint      NOT NULL DEFAULT nextval('auth.epochs'),
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, id),
	CONSTRAINT accounts_name UNIQUE (namespace, name)
);

-- An owner logs in by id alone, so an id owns one namespace.
CREATE UNIQUE INDEX accounts_owner ON auth.accounts (id) WHERE owner;
CREATE INDEX accounts_by_id ON auth.accounts (id) WHERE type = 'user';

-- A session is one login and the refresh tokens that descend from it. The
-- tokens are derived from id and generation with a key that is not in the
-- database; nothing of them is stored.
CREATE TABLE auth.sessions (
	namespace  text        NOT NULL,
	account    text        NOT NULL,
	id         bytea       NOT NULL,
	epoch      bigint      NOT NULL, -- the account's at login: another one ends the session
	generation integer     NOT NULL DEFAULT 0,
	rotated_at timestamptz NOT NULL DEFAULT now(),
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (namespace, account, id),
	FOREIGN KEY (namespace, account) REFERENCES auth.accounts ON DELETE CASCADE
);

CREATE UNIQUE INDEX sessions_id ON auth.sessions (id);
CREATE INDEX sessions_by_expiry ON auth.sessions (expires_at);

CREATE TABLE auth.revocations (
	namespace  text        NOT NULL,
	account    text        NOT NULL,
	epoch      bigint      NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (namespace, account)
);

CREATE INDEX revocations_by_expiry ON auth.revocations (expires_at);

CREATE TABLE auth.rules (
	namespace text    NOT NULL,
	id        text    NOT NULL,
	scope     text    NOT NULL,
	type      text    NOT NULL,
	name      text    NOT NULL,
	endpoint  text    NOT NULL,
	access    integer NOT NULL CHECK (access IN (1, 2)), -- auth.Access
	priority  integer NOT NULL,
	PRIMARY KEY (namespace, id)
);

CREATE TABLE auth.keys (
	id         text        PRIMARY KEY,
	public     bytea       NOT NULL, -- PKIX
	private    bytea       NOT NULL, -- PKCS #8, sealed
	active     boolean     NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now()
);

-- One key signs; two processes that start at once agree on it here.
CREATE UNIQUE INDEX keys_active ON auth.keys (active) WHERE active;
