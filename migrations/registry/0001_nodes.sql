-- +goose Up

-- What a version of a service is made of. It goes when its last node goes.
-- Whoever changes a version or its set of nodes locks its row here first.
CREATE TABLE registry.versions (
	namespace  text        NOT NULL,
	service    text        NOT NULL,
	version    text        NOT NULL,
	metadata   jsonb       NOT NULL DEFAULT '{}',
	endpoints  bytea       NOT NULL, -- a registry.Service with endpoints only
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, service, version)
);

CREATE TABLE registry.nodes (
	namespace  text        NOT NULL,
	service    text        NOT NULL,
	version    text        NOT NULL,
	id         text        NOT NULL,
	address    text        NOT NULL,
	port       bigint      NOT NULL DEFAULT 0,
	metadata   jsonb       NOT NULL DEFAULT '{}',
	account    text        NOT NULL, -- that registered it
	digest     bytea       NOT NULL, -- of all that was registered, so that a renewal is told from a change
	expires_at timestamptz,          -- null does not expire
	PRIMARY KEY (namespace, service, version, id),
	FOREIGN KEY (namespace, service, version) REFERENCES registry.versions ON DELETE CASCADE
);

CREATE INDEX nodes_by_expiry ON registry.nodes (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX nodes_by_account ON registry.nodes (namespace, account);

-- Accounts whose nodes were taken out of the routes and stay out. Kept for as
-- long as such a process could go on trying.
CREATE TABLE registry.evictions (
	namespace  text        NOT NULL,
	account    text        NOT NULL,
	evicted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, account)
);

CREATE INDEX evictions_by_time ON registry.evictions (evicted_at);
